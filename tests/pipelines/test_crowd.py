"""A finished run learns: in a simulated crowd, and from simulated users of its server."""

import shutil
from pathlib import Path

import pytest

from pipelines import simulate
from pipelines.benches.client import health, served
from tfrec_llm import evaluation
from tfrec_llm.feedback import EventLog, sqlite_url

SMALL = ["simulate.worlds=[]", "simulate.session_users=40", "gate.min_effective_sample=20", "gate.bootstrap=50"]
SMALL += ["learn.least_decisions=16", "learn.batch_events=300", "gate.margin=0.5"]


@pytest.fixture
def run(smoke_run, tmp_path):
    return Path(shutil.copytree(smoke_run, tmp_path / "run"))


@pytest.mark.slow
def test_the_crowd_is_judged_with_and_without_the_shift(run):
    command = ["--config", str(run / "config.toml"), "--run", str(run), "--set", *SMALL, "simulate.crowd_sessions=128"]
    simulate.main(command)
    figures = evaluation.read_report(run / "metrics.json")["metrics"]
    for shift in ("1", "0"):
        gain, reward, before = (
            figures[f"ranking.crowd.{name}|shift_{shift}"] for name in ("gain", "reward", "shipped_reward")
        )
        assert gain["value"] == pytest.approx(reward["value"] / before["value"] - 1)
        assert gain["ci95"][0] <= gain["value"] <= gain["ci95"][1]
    assert figures["ranking.crowd.versions|shift_1"]["value"] >= 1
    assert sorted(p.name for p in (run / "export").iterdir() if p.name.isdigit()) == ["1"]  # copies learnt, not the run


@pytest.mark.slow
def test_simulated_users_ask_a_running_server_and_the_reward_is_drawn(run):
    with served(run, engine="export") as server:
        url = f"http://127.0.0.1:{server.port}"
        more = [f"simulate.server={url}", "simulate.drive_sessions=64"]
        simulate.main(["--config", str(run / "config.toml"), "--run", str(run), "--set", *SMALL, *more])
        assert health(server)["status"] == "ok"
    figures = evaluation.read_report(run / "metrics.json")["metrics"]
    assert figures["ranking.server.reward"]["value"] > 0
    assert "reward per session" in (run / "reward_over_time.svg").read_text("utf-8")
    log = EventLog(sqlite_url(run / "log.db"))
    assert len(log.read_events().event_id) > 20
    assert len(log.read_decisions()[0].decision_id) > 64


def test_without_a_server_it_says_so(run):
    command = ["--config", str(run / "config.toml"), "--run", str(run), "--set", *SMALL]
    with pytest.raises(ValueError, match="expected a running server"):
        simulate.main([*command, "simulate.server=http://127.0.0.1:9"])


def test_a_crowd_that_nobody_judges_is_refused(run):
    command = ["--config", str(run / "config.toml"), "--run", str(run), "--set", "simulate.worlds=[]"]
    with pytest.raises(ValueError, match=r"simulate\.session_users: expected at least 1"):
        simulate.main([*command, "simulate.session_users=0", "simulate.crowd_sessions=64"])
