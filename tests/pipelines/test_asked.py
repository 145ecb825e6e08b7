"""What was asked beside what was measured: read from the kept cells, and told as it is."""

import json

import pytest

from pipelines import asked


@pytest.fixture
def kept(tmp_path):
    """A folder of results: two seeds of a cell, a quick run, a bench."""
    (tmp_path / "films").mkdir()
    for seed, value in ((1, 0.2), (2, 0.4)):
        metrics = {"system.ndcg@10": {"value": value}, "accuracy": {"value": 0.9}, "typos_accuracy": {"value": value}}
        (tmp_path / "films" / f"lstm-{seed}.json").write_text(json.dumps({"metrics": metrics}))
    other = {"metrics": {"system.ndcg@10": {"value": 0.9}}}
    (tmp_path / "films" / "lstm_wide-1.json").write_text(json.dumps(other))
    (tmp_path / "quick").mkdir()
    (tmp_path / "quick" / "video.json").write_text(json.dumps({"metrics": {"gain": {"value": 0.1}}}))
    encode = {"ratio": 1.5, "ms": {"ours": 3.5}, "setup": {"least_cosine": 0.9999, "least_cosine_single": 0.9985}}
    (tmp_path / "bench.json").write_text(json.dumps({"serve.p50_ms": {"value": 7.0}, "encode": encode}))
    return asked.Figures(tmp_path)


def test_figures_are_means_over_seeds_of_the_cell_alone(kept):
    assert kept("films/lstm", "system.ndcg@10") == pytest.approx(0.3)
    assert kept("films/lstm_wide", "system.ndcg@10") == 0.9
    assert kept("quick/video", "gain") == 0.1
    assert kept.drop("films/lstm", "accuracy", "typos") == pytest.approx(0.6)


def test_figures_of_the_bench(kept):
    assert kept.bench("serve.p50_ms") == 7.0
    assert kept.bench("encode", "ratio") == 1.5
    assert kept.single_ms("encode") == 3.5
    assert kept.cosine("encode") == 0.9985


def test_what_nobody_measured_is_said(kept):
    with pytest.raises(LookupError, match=r"films/gru has no system\.ndcg@10"):
        kept("films/gru", "system.ndcg@10")


def test_the_table_says_whether_a_bound_is_met(kept, monkeypatch):
    rows = (
        asked.Ask("system", "`a`", lambda figures: figures("films/lstm", "system.ndcg@10"), least=0.25),
        asked.Ask("too slow", "`b`", lambda figures: figures.bench("serve.p50_ms"), most=5.0, form="{:.1f}"),
        asked.Ask("missing", "`c`", lambda figures: figures.bench("serve.p99_ms"), most=15.0),
    )
    monkeypatch.setattr(asked, "ASKED", rows)
    assert asked.table(kept)[2:] == [
        "| system | `a` | at least 0.250 | 0.300 | 2 | met |",
        "| too slow | `b` | at most 5.0 | 7.0 |  | **not met** |",
        "| missing | `c` | at most 15.000 | | | not measured |",
    ]


def test_every_figure_that_was_asked_for_is_found_in_the_results():
    assert not [line for line in asked.table(asked.Figures()) if "not measured" in line]
