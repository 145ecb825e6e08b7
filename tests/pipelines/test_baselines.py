"""Judging without training: `evaluate --baselines`, suites up to the baselines, and their tables."""

import json

import numpy as np
import pandas as pd
import pytest

from pipelines import evaluate, publish, suite, summary
from tfrec_llm.evaluation import entry

TINY = """
about = "baselines with ties in either order"
upto = "baselines"
seeds = [1]
against = "file_order"
columns = ["baseline.text_knn.ndcg@10", "baseline.*.ndcg@10"]
[base.data]
source = "files"
interactions = "EVENTS"
items = "ITEMS"
[base.text]
encoder = "tiny"
engine = "tensorflow"
corpora = []
epochs = 1
domain_rows = 10
[base.text.slots]
rows = 0
predict = false
[base.evaluate]
bootstrap = 20
[cells]
file_order = {}
shuffled.data.shuffle_ties = true
"""


def test_baselines_alone_want_neither_training_nor_text(tmp_path, capsys, caplog):
    arguments = ["--config", "smoke", "--run", str(tmp_path / "run"), "--baselines", "--segments"]
    evaluate.main([*arguments, "--set", "evaluate.split=test", "evaluate.bootstrap=20"])
    report = json.loads((tmp_path / "run" / "metrics.json").read_text("utf-8"))
    metrics = report["metrics"]
    for name in ("random", "popularity", "item_knn", "matrix_factorisation", "ease", "ease_recency"):
        assert metrics[f"baseline.{name}.ndcg@10"]["split"] == "test"
        assert metrics[f"seconds.baseline.{name}"]["value"] > 0
        assert 0 <= metrics[f"baseline.{name}.popularity_share@10"]["value"] <= 1
    assert metrics["baseline.item_knn.ndcg@10"]["value"] > metrics["baseline.random.ndcg@10"]["value"]
    assert "baseline.text_knn.ndcg@10" not in metrics
    assert not [key for key in metrics if key.startswith("gain.")]
    assert report["run"]["diversity_by"] == "attributes"
    assert not (tmp_path / "run" / "text").exists()
    shown = capsys.readouterr().out
    assert f"protocol {report['protocol']['sha256'][:12]}" in shown
    assert "ties in the file's order" in shown
    assert "ease.mrr@10|history_5_19" in shown


def write_shop(folder):
    """60 users, 9 events each of 20 things, three at a time."""
    things, generator = [f"thing {i}" for i in range(20)], np.random.default_rng(0)
    rows = [
        (f"user {user}", things[item], 1_600_000_000 + place // 3)
        for user in range(60)
        for place, item in enumerate(generator.permutation(20)[:9])
    ]
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(folder / "events.csv", index=False)
    pd.DataFrame({"item_id": things, "title": things}).to_csv(folder / "items.csv", index=False)
    return TINY.replace("EVENTS", str(folder / "events.csv")).replace("ITEMS", str(folder / "items.csv"))


def test_a_suite_of_baselines_reads_text_and_shows_each_cells_protocol(tmp_path, monkeypatch):
    for name in ("SUITES", "RESULTS", "RUNS"):
        monkeypatch.setattr(suite, name, tmp_path / name)
    (tmp_path / "SUITES").mkdir()
    (tmp_path / "SUITES" / "tiny.toml").write_text(write_shop(tmp_path))
    for cell in suite.all_cells("tiny"):
        suite.run_cell(cell)
    cells = suite.kept_cells("tiny")
    metrics = cells["file_order"][0]["metrics"]
    assert "baseline.text_knn.ndcg@10" in metrics
    assert "seconds.behaviour" not in metrics
    assert cells["file_order"][0]["run"]["diversity_by"] == "text"
    assert cells["shuffled"][0]["protocol"]["ties"] == "shuffled by the seed"
    lines = summary.table(suite.load_suite("tiny"), cells)
    assert lines[0].startswith("| cell | seeds | protocol | baseline.text_knn.ndcg@10 | baseline.ease.ndcg@10 |")
    assert f"| file_order | 1 | {cells['file_order'][0]['protocol']['sha256'][:12]} |" in lines[2]
    same = summary.table(suite.load_suite("tiny"), {"file_order": cells["file_order"]})
    assert same[0].startswith("| cell | seeds | baseline.")  # one protocol stands above the table
    assert f"protocol {cells['file_order'][0]['protocol']['sha256'][:12]}" in publish.suite_section("tiny")


def test_tables_of_a_run_say_whether_the_system_is_better_and_what_it_shows():
    rows = {"system": 0.3, "baseline.ease": 0.2, "baseline.sasrec": 0.31, "baseline.random": 0.1}
    metrics = {f"{row}.ndcg@10": entry(value, 9, "test", (value, value)) for row, value in rows.items()}
    metrics |= {
        "gain.system.over.baseline.ease.ndcg@10": entry(0.1, 9, "test", (0.05, 0.15)),
        "gain.system.over.baseline.sasrec.ndcg@10": entry(-0.01, 9, "test", (-0.05, 0.03)),
        "system.novelty@10": entry(9.5, 9, "test", (9.0, 10.0)),
        "system.gini@10": entry(0.8, 9, "test"),
        **{f"ranking.session.gain|drift_{i}": entry(0.1 * i, 7, "test", (0.05, 0.25)) for i in range(3)},
        "ranking.session.changed_share": entry(0.5, 7, "test"),
        "ranking.simulator.judge.auc": entry(0.75, 99, "train"),
        "seconds.evaluate": entry(3, 1, "train", over="seeds"),
        "seconds.baseline.ease": entry(3, 1, "train", over="seeds"),
        "peak_memory_gb.evaluate": entry(1, 1, "train", over="seeds"),
    }
    protocol = {"dataset": "toy", "users": 9, "items": 9, "interactions": 99, "sha256": "a" * 64, "seeds": [1]}
    about = {"command": "make eval", "date": "2026-01-02", "cores": 2}
    run = {"device": "a CPU", "diversity_by": "text"}
    text = publish.section("toy", {"metrics": metrics, "protocol": protocol, "run": run, "about": about})
    lines = text.splitlines()
    first = [line.split(" | ")[0].strip("| ") for line in lines if line.startswith(("| system", "| baseline"))]
    assert first == ["system", "baseline.ease", "baseline.random", "baseline.sasrec", "system"]
    assert "protocol aaaaaaaaaaaa" in lines[0]
    assert any(line.endswith("| 0.1000 [0.050, 0.150] better |") for line in lines)
    assert any(line.endswith("| -0.0100 [-0.050, 0.030] level |") for line in lines)
    assert "| system | 9.500 |  |  |  | 0.800 |" in lines
    assert "diversity by the items' text" in text
    assert "Seconds: evaluate 3;" in text
    assert "sessions of 7 users" in text
    assert "reward +10.0 % [5.0, 25.0]; +0.0 %" in text
    assert "changes 50 % of the lists" in text


@pytest.mark.parametrize("name", ["ties", "ties_baselines"])
def test_suites_of_ties_differ_in_nothing_else(name):
    file_order, shuffled = suite.all_cells(name)[:2]
    assert (file_order.config.data.shuffle_ties, shuffled.config.data.shuffle_ties) == (False, True)
    assert file_order.config.behaviour == shuffled.config.behaviour
    assert file_order.config.evaluate.split == "test"
