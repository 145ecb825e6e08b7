"""The event log on real databases: SQLite and a PostgreSQL server that the tests start."""

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy

from tfrec_llm.feedback import (
    DecisionRow,
    EventLog,
    EventRow,
    Forgotten,
    Kept,
    LogUnavailableError,
    sqlite_url,
    user_key,
)

KEY = user_key(b"a secret of the tests", "anna")


def decision(name="d1", **changes):
    made = DecisionRow(
        decision_id=name,
        time=1_000,
        user_key=KEY,
        model_version="3",
        fusion_version="f1",
        history=["x", "y"],
        candidate_ids=["a", "b", "", "手机"],
        features=np.arange(6).reshape(3, 2) / 4,
        context=np.array([0.5, -0.25]),
        item_ids=["b", "a", ""],
        propensities=np.array([0.5, 0.125, 0.0]),
        embedding=np.array([1.0, 0.0, 0.0]),
    )
    return replace(made, **changes)


def event(name="e1", **changes):
    return replace(EventRow(name, "d1", "b", "click", 1.0, 1_010), **changes)


def test_what_is_kept_is_read_back(log):
    assert log.add_decisions([decision(), decision("d2", features=np.zeros((0, 0)), embedding=None)]) == Kept(2, 0)
    read, left = log.read_decisions()
    assert left == 0
    assert read.decision_id.tolist() == ["d1", "d2"]
    assert read.candidate_ids.tolist() == [["a", "b", ""], ["", "", ""]]  # those with features
    assert read.item_ids.tolist() == [["b", "a", ""], ["", "", ""]]
    np.testing.assert_array_equal(read.features[0], np.arange(6).reshape(3, 2) / 4)
    np.testing.assert_array_equal(read.context, [[0.5, -0.25]] * 2)
    np.testing.assert_array_equal(read.propensities[0], [0.5, 0.125, 0])
    assert log.known_decisions(["d1", "no such"]) == {"d1": ["b", "a", ""]}


def test_events_count_once_whenever_they_come(log):
    assert log.add_events([event(), event("e2", value=0.5)]) == Kept(2, 0)
    assert log.add_events([event(), event("e3"), event("e3")]) == Kept(1, 2)
    read = log.read_events()
    assert read.event_id.tolist() == ["e1", "e2", "e3"]
    assert read.value.tolist() == [1.0, 0.5, 1.0]
    assert log.add_decisions([decision()]) == Kept(1, 0)  # after its events
    assert log.add_decisions([decision(time=5)]) == Kept(0, 1)
    assert log.read_decisions()[0].time.tolist() == [1_000]


def test_groups_of_events_are_each_kept_whole_or_not_at_all(log):
    log.add_decisions([decision(), decision("d2")])
    groups = [
        [event(), event("e2", decision_id="d2")],
        [event("e3"), event("e4", decision_id="gone")],
        [event("e2"), event("e5"), event("e5")],
        [event("e6", decision_id="gone")],
        [],
    ]
    assert log.add_events_together(groups) == [Kept(2, 0), None, Kept(1, 2), None, Kept(0, 0)]
    assert log.read_events().event_id.tolist() == ["e1", "e2", "e5"]
    assert log.add_events_together([groups[0]]) == [Kept(0, 2)]
    with pytest.raises(ValueError, match="finite value"):
        log.add_events_together([[event("e7")], [event("e8", value=float("nan"))]])
    assert len(log.read_events().event_id) == 3


def test_many_groups_of_events_are_counted_apart(log):
    log.add_decisions([decision(f"d{i}") for i in range(600)])
    groups = [[event(f"e{i}-{j}", decision_id=f"d{i}") for j in range(2)] for i in range(700)]
    assert log.add_events_together(groups) == [Kept(2, 0)] * 600 + [None] * 100


def test_batches_are_cut_by_sequence_number(log):
    log.add_events([event(f"e{i}") for i in range(7)])
    first = log.nth_event(after=0, count=3)
    assert log.read_events(upto=first).event_id.tolist() == ["e0", "e1", "e2"]
    second = log.nth_event(after=first, count=3)
    assert log.read_events(first, second).event_id.tolist() == ["e3", "e4", "e5"]
    assert log.nth_event(after=second, count=3) is None
    assert log.last_event() == log.nth_event(after=0, count=7)


@pytest.mark.parametrize("page", [1, 2, 3, 100])
def test_the_latest_decisions_are_read_a_page_at_a_time(log, monkeypatch, page):
    monkeypatch.setattr("tfrec_llm.feedback.event_log._PAGE", page)
    assert list(log.latest_decisions(2_000)) == []
    log.add_decisions([decision(f"d{i}", time=1_000 + i, model_version=str(i % 2)) for i in range(6)])
    assert list(log.latest_decisions(1_004)) == ["d4", "d3", "d2", "d1", "d0"]
    assert list(log.latest_decisions(2_000, "1")) == ["d5", "d3", "d1"]
    read, ids = [], log.latest_decisions(2_000)
    sqlalchemy.event.listen(log._engine, "before_execute", lambda *asked: read.append(asked[1]))
    assert [next(ids), len(read)] == ["d5", 1]


def test_contexts_of_another_fusion_are_left_out_and_counted(log):
    log.add_decisions([decision(), decision("d2", fusion_version="f2"), decision("d3")])
    read, left = log.read_decisions(fusion_version="f1")
    assert (read.decision_id.tolist(), left) == (["d1", "d3"], 1)
    assert log.read_decisions(["d3", "d2"])[0].decision_id.tolist() == ["d2", "d3"]


def test_a_user_is_forgotten_whole(log):
    other = user_key(b"a secret of the tests", "bert")
    log.add_decisions([decision(), decision("d2", user_key=other), decision("d3")])
    log.add_events([event(), event("e2", decision_id="d2"), event("e3", decision_id="d3"), event("e4")])
    assert log.forget_user(KEY) == Forgotten(decisions=2, events=3)
    assert log.read_decisions()[0].decision_id.tolist() == ["d2"]
    assert log.read_events().event_id.tolist() == ["e2"]
    assert log.forget_user(KEY) == Forgotten(0, 0)


def test_old_decisions_go_and_numbers_are_never_given_twice(log):
    log.add_decisions([decision(), decision("d2", time=2_000)])
    log.add_events([event("e2", decision_id="d2"), event()])
    last = log.last_event()
    assert log.forget_before(2_000) == Forgotten(decisions=1, events=1)
    log.add_events([event("e9")])
    assert log.last_event() > last


def test_writers_side_by_side_lose_nothing_and_keep_the_order(log, url):
    seen, stop = [], threading.Event()

    def write(who):
        own = EventLog(url)
        for number in range(20):
            own.add_events([event(f"{who}-{number}-{i}") for i in range(3)])
        own.close()

    def read():
        while not stop.is_set():
            seen.append(log.read_events().event_id.tolist())

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(who,)) for who in range(3)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    reader.join()
    final = log.read_events().event_id.tolist()
    assert len(final) == len(set(final)) == 180
    assert all(final[: len(part)] == part for part in seen)  # nothing appears before what was there


WRITER = """
import sys
from tfrec_llm.feedback import EventLog, EventRow
log = EventLog(sys.argv[1])
for number in range(100_000):
    log.add_events([EventRow(f"e{number}", "d", "a", "click", 1.0, 1)])
    print(number, flush=True)
"""


def test_a_killed_process_loses_nothing_that_was_acknowledged(log, url):
    process = subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True)
    for _ in range(20):
        process.stdout.readline()
    time.sleep(0.03)
    process.send_signal(signal.SIGKILL)
    acknowledged = 20 + len(process.stdout.read().split())
    process.wait()
    kept = set(log.read_events().event_id)
    assert {f"e{i}" for i in range(acknowledged)} <= kept
    assert len(kept) <= acknowledged + 1
    log.add_events([event("after")])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"decision_id": ""}, "decision_id of 1 to 255"),
        ({"decision_id": "x" * 256}, "got 256"),
        ({"history": ["a\0b"]}, "without null characters"),
        ({"time": -1}, "seconds since 1970"),
        ({"propensities": np.array([0.5, 0.0, 0.0])}, "propensities above 0"),
        ({"propensities": np.array([0.5, np.nan, 0.0])}, "propensities above 0"),
        ({"propensities": np.array([0.5])}, "3 propensities"),
        ({"features": np.zeros((9, 2))}, "at most 4 candidates"),
        ({"context": np.array([np.inf, 0])}, "finite numbers as context"),
    ],
)
def test_a_decision_that_could_not_be_learnt_from_is_refused(log, changes, said):
    with pytest.raises(ValueError, match=said):
        log.add_decisions([decision("good"), decision(**changes)])
    assert not log.read_decisions()[0].decision_id.size  # all or nothing


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"event_id": ""}, "event_id of 1 to 255"),
        ({"item_id": "'; DROP TABLE events; --\0"}, "without null characters"),
        ({"value": float("nan")}, "finite value"),
        ({"time": 2**60}, "seconds since 1970"),
    ],
)
def test_an_event_that_could_not_be_counted_is_refused(log, changes, said):
    with pytest.raises(ValueError, match=said):
        log.add_events([event("good"), event(**changes)])
    assert log.last_event() == 0


def test_ids_are_never_read_as_sql(log):
    name = "'); DROP TABLE events; --"
    log.add_events([event(name, item_id='"; DELETE FROM events', decision_id="% _ \\ 手机")])
    assert log.read_events().event_id.tolist() == [name]
    assert log.known_decisions([name]) == {}


def test_huge_numbers_become_the_largest_that_fits(log):
    log.add_decisions([decision(context=np.array([1e30, -1e30]))])
    assert log.read_decisions()[0].context.tolist() == [[65504.0, -65504.0]]


def test_a_locked_database_refuses_and_keeps_working_afterwards(tmp_path):
    path = tmp_path / "log.db"
    log = EventLog(sqlite_url(path), wait=0.05)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(LogUnavailableError, match="locked; nothing was kept"):
        log.add_events([event()])
    holder.execute("ROLLBACK")
    assert log.add_events([event()]) == Kept(1, 0)


def test_readers_wait_for_no_writer_and_hold_none_up(tmp_path):
    path = tmp_path / "log.db"
    log = EventLog(sqlite_url(path), wait=0.05)
    log.add_decisions([decision()])
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert list(log.known_decisions([decision().decision_id])) == [decision().decision_id]
    holder.execute("ROLLBACK")
    with log._reading() as reading:
        reading.exec_driver_sql("SELECT * FROM decisions").first()
        assert log.add_events([event()]) == Kept(1, 0)


def test_a_full_disk_refuses_and_the_rest_stays(tmp_path):
    log = EventLog(sqlite_url(tmp_path / "log.db"))
    log.add_events([event()])
    sqlalchemy.event.listen(log._engine, "connect", lambda raw, _: raw.execute("PRAGMA max_page_count=30"))
    log._engine.dispose()
    with pytest.raises(LogUnavailableError, match="full"):
        log.add_events([event(f"more{i}", item_id="x" * 250) for i in range(2_000)])
    assert log.read_events().event_id.tolist() == ["e1"]


def test_a_deleted_user_is_not_in_the_files_any_more(tmp_path):
    log = EventLog(sqlite_url(tmp_path / "log.db"))
    log.add_decisions([decision(utterance="my secret wish")])
    files = list(tmp_path.iterdir())
    assert any(b"my secret wish" in path.read_bytes() for path in files)
    log.forget_user(KEY)
    assert not any(b"my secret wish" in path.read_bytes() for path in tmp_path.iterdir())
