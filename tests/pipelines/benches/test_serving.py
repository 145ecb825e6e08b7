"""The bench of serving on a small run: what it counts. Nothing is timed here."""

import json

import pytest

from pipelines import bench
from pipelines.benches.rounds import Settings
from pipelines.benches.serving import under_load
from tfrec_llm.config import Config


@pytest.mark.slow
def test_nothing_fails_and_nothing_is_lost(smoke_run, tmp_path):
    command = ["--config", str(smoke_run / "config.toml"), "--run", str(tmp_path), "--only", "serve", "--rounds", "1"]
    command += ["--served", str(smoke_run), "--reloads", "4", "--kills", "2", "--seconds", "1"]
    bench.main(command)
    found = json.loads((tmp_path / "bench.json").read_text("utf-8"))
    wanted = ("p50_ms", "p99_ms", "text_p50_ms", "text_p99_ms", "history_200_p50_ms", "http_requests_per_second")
    assert {f"serve.{name}" for name in wanted} <= set(found)
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


def test_without_a_run_it_says_so(tmp_path):
    with pytest.raises(ValueError, match="expected a finished run"):
        next(under_load(Settings(Config(), 1, (), 1, served=tmp_path)))
