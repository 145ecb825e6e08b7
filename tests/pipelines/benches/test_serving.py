"""The bench of serving on a small run: what it counts. Nothing is timed here."""

import json

import pytest

from pipelines import bench
from pipelines.benches import client, serving
from pipelines.benches.rounds import Settings
from pipelines.benches.serving import under_load
from tests.feedback.test_event_log import event
from tfrec_llm.config import Config
from tfrec_llm.feedback import EventLog, sqlite_url


@pytest.mark.slow
def test_nothing_fails_and_nothing_is_lost(smoke_run, tmp_path):
    command = ["--config", str(smoke_run / "config.toml"), "--run", str(tmp_path), "--only", "serve", "--rounds", "1"]
    command += ["--served", str(smoke_run), "--reloads", "4", "--kills", "2", "--seconds", "1"]
    bench.main(command)
    found = json.loads((tmp_path / "bench.json").read_text("utf-8"))
    wanted = ("p50_ms", "p99_ms", "text_p50_ms", "text_p99_ms", "history_200_p50_ms", "http_requests_per_second")
    assert {f"serve.{name}" for name in wanted} <= set(found)
    parts = found["serve.text_p50_ms"]["setup"]
    assert 0 < parts["queue_ms"] < parts["decide_ms"] < parts["whole_ms"]
    assert 0 < parts["encode_ms"] < parts["whole_ms"]
    assert found["serve.http_requests_per_second"]["setup"]["failed"] == 0
    for way, count in (("in_place", 4), ("full", 2)):
        setup = found[f"serve.reload_{way}_seconds"]["setup"]
        assert (setup["reloads"], setup["failed"]) == (count, 0)
    events = found["serve.events_per_second"]["setup"]
    assert events["sent"] > 0
    assert (events["lost"], events["twice"]) == (0, 0)
    kills = found["serve.kills"]
    assert (kills["value"], kills["setup"]["kills"]) == (0, 2)
    assert kills["setup"]["acknowledged"] > 0


def test_the_time_of_parts_is_the_mean_of_what_came_between():
    before, after = {"decide": (1.0, 100)}, {"decide": (1.5, 200), "encode": (0.2, 10), "queue": (0.0, 0)}
    assert client.between(before, after) == pytest.approx({"decide": 5.0, "encode": 20.0})


@pytest.mark.parametrize(
    ("status", "body", "kept"),
    [(200, {"decision_id": "d1"}, True), (200, {"decision_id": None}, False), (503, {"error": "busy"}, False)],
)
def test_an_answer_whose_decision_is_not_in_the_log_has_failed(monkeypatch, status, body, kept):
    monkeypatch.setattr(client, "_post", lambda *_: (status, json.dumps(body).encode()))
    server = client.Served(None, 1, None, 0.0, ("click",), ("i1", "i2"))
    assert client.ask(server, 4, 2).failed == (0 if kept else 4)


def test_a_database_that_a_kill_damaged_is_said(tmp_path):
    log = EventLog(sqlite_url(tmp_path / "log.db"))
    log.add_events([event(f"e{place}") for place in range(2_000)])
    log.close()
    serving._check_whole(tmp_path / "log.db")
    whole = (tmp_path / "log.db").read_bytes()
    (tmp_path / "log.db").write_bytes(whole[:40_960] + b"x" * 4_096 + whole[45_056:])
    with pytest.raises(ValueError, match="to be whole after a kill"):
        serving._check_whole(tmp_path / "log.db")


def test_without_a_run_it_says_so(tmp_path):
    with pytest.raises(ValueError, match="expected a finished run"):
        next(under_load(Settings(Config(), 1, (), 1, served=tmp_path)))
