"""The event log as the server writes it: who is told when, and who waits for a log that is locked."""

import asyncio
import sqlite3
import time

import numpy as np
import pytest

from tests.feedback.test_event_log import decision, event
from tfrec_llm.config import Serving
from tfrec_llm.feedback import EventLog, Kept, LogUnavailableError, sqlite_url
from tfrec_llm.serving.server import recorder as recorders
from tfrec_llm.serving.server.measures import Measures
from tfrec_llm.serving.server.recorder import Recorder


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.db"


def run(path, scenario, **settings):
    """Runs a scenario with a recorder that has started, and one decision in its log."""

    async def all_of_it():
        made = Serving(**{"timeout_ms": 10_000.0, "log_wait_ms": 2_000.0, **settings})
        recorder = Recorder(sqlite_url(path), made, Measures())
        await recorder.start()
        try:
            assert await recorder.decision(decision())
            return await scenario(recorder)
        finally:
            await recorder.close()

    return asyncio.run(all_of_it())


@pytest.fixture
def commits(monkeypatch):
    """What was committed together."""
    seen, insert = [], EventLog._insert

    def note(self, connection, table, key, rows):
        seen.append([row[key] for row in rows])
        return insert(self, connection, table, key, rows)

    monkeypatch.setattr(EventLog, "_insert", note)
    return seen


def test_many_who_wait_for_a_locked_log_wait_together(path):
    async def scenario(recorder):
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        asked = [recorder.events([event(f"e{place}")]) for place in range(20)]
        began = time.perf_counter()
        results = await asyncio.gather(*asked, recorder.slates(["d1"]), return_exceptions=True)
        taken = time.perf_counter() - began
        holder.execute("ROLLBACK")
        return results, taken

    results, taken = run(path, scenario, log_wait_ms=200.0)
    assert [type(result).__name__ for result in results[:-1]] == ["LogUnavailableError"] * 20
    assert results[-1] == {"d1": ["b", "a", ""]}  # reading goes on
    assert taken < 2  # one wait or two, not twenty


def test_a_decision_is_told_before_the_events_of_its_batch_are_on_disk(path, monkeypatch):
    add, over = EventLog.add_events_together, []

    def slowly(self, groups):
        time.sleep(0.5)
        over.append(1)
        return add(self, groups)

    monkeypatch.setattr(EventLog, "add_events_together", slowly)

    async def scenario(recorder):
        events = asyncio.create_task(recorder.events([event()]))
        kept = await recorder.decision(decision("d2"))
        return kept, list(over), await events

    assert run(path, scenario) == (True, [], Kept(1, 0))


def test_events_of_a_batch_are_one_transaction_and_counted_apart(path, commits):
    async def scenario(recorder):
        recorder._thread.submit(time.sleep, 0.3)  # what comes meanwhile is one batch
        first = asyncio.create_task(recorder.slates(["d1"]))
        await asyncio.sleep(0.1)
        groups = [[event("a"), event("b")], [event("b"), event("c")], [event("x", decision_id="gone")], [event("d")]]
        return await asyncio.gather(*map(recorder.events, groups)), await first

    assert run(path, scenario)[0] == [Kept(2, 0), Kept(1, 1), None, Kept(1, 0)]
    assert commits == [["d1"], ["a", "b", "b", "c", "d"]]


def test_a_row_that_is_refused_spoils_no_other(path):
    async def scenario(recorder):
        recorder._thread.submit(time.sleep, 0.3)
        first = asyncio.create_task(recorder.slates(["d1"]))
        await asyncio.sleep(0.1)
        events = [[event("a")], [event("b", value=float("nan"))], [event("c")]]
        decisions = [decision("d2"), decision("d3", context=np.array([np.nan])), decision("d4")]
        asked = [*map(recorder.events, events), *map(recorder.decision, decisions)]
        return await asyncio.gather(*asked, return_exceptions=True), await first

    results, _ = run(path, scenario)
    assert (results[0], type(results[1]), results[2:]) == (Kept(1, 0), ValueError, [Kept(1, 0), True, False, True])


def test_a_decision_that_is_stored_after_its_request_gave_up_is_deleted(path, monkeypatch):
    add = EventLog.add_decisions

    def slowly(self, rows):
        time.sleep(0.4 if rows[0].decision_id == "d2" else 0.0)
        return add(self, rows)

    monkeypatch.setattr(EventLog, "add_decisions", slowly)

    async def scenario(recorder):
        kept = await recorder.decision(decision("d2"))
        await asyncio.sleep(0.8)
        return kept, await recorder.slates(["d1", "d2"])

    kept, slates = run(path, scenario, log_wait_ms=50.0)
    assert not kept
    assert list(slates) == ["d1"]


def test_such_decisions_are_deleted_once_the_log_answers_again(path, monkeypatch):
    add, forget, tried = EventLog.add_decisions, EventLog.forget_decisions, []

    def slowly(self, rows):
        time.sleep(0.0 if rows[0].decision_id == "d1" else 0.4)
        return add(self, rows)

    def at_the_second_time(self, ids):
        tried.append(list(ids))
        if len(tried) == 1:
            raise LogUnavailableError("locked")
        return forget(self, ids)

    monkeypatch.setattr(EventLog, "add_decisions", slowly)
    monkeypatch.setattr(EventLog, "forget_decisions", at_the_second_time)
    monkeypatch.setattr(recorders, "AGAIN", 0.2)

    async def scenario(recorder):
        assert not await recorder.decision(decision("d2"))
        async with asyncio.timeout(10):
            while recorder._forgetting or not tried:
                await asyncio.sleep(0.02)
        return await recorder.slates(["d1", "d2"])

    assert list(run(path, scenario, log_wait_ms=50.0)) == ["d1"]
    assert tried == [["d2"], ["d2"]]


def test_events_do_not_wait_for_a_log_that_was_silent_until_it_answers_again(path, monkeypatch):
    gone, add = [True], EventLog.add_events_together

    def silent(self, groups):
        while gone:
            time.sleep(0.02)
        return add(self, groups)

    monkeypatch.setattr(EventLog, "add_events_together", silent)

    async def scenario(recorder):
        seconds = []
        for name in "abc":
            began = time.perf_counter()
            with pytest.raises(LogUnavailableError):
                await recorder.events([event(name)])
            seconds.append(time.perf_counter() - began)
        gone.clear()
        async with asyncio.timeout(10):
            while recorder._silent:
                await asyncio.sleep(0.02)
        return seconds, await recorder.events([event("d")])

    (first, *others), kept = run(path, scenario, timeout_ms=300.0, log_wait_ms=50.0)
    assert first > 0.25
    assert max(others) < 0.05
    assert kept == Kept(1, 0)
