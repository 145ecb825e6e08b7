"""Suites that stop at a stage judge it alone; a stopped cell goes on; rivals stand beside the served model."""

import json
import logging

import numpy as np
import pytest

from pipelines import evaluate, judged, stages, suite
from pipelines.checks import check
from tfrec_llm import behaviour, config, data, evaluation, text
from tfrec_llm.behaviour import stage as behaviour_stage

TINY = """
about = "two behaviour models alone"
upto = "{upto}"
seeds = [1]
against = "lstm"
columns = ["behaviour.ndcg@10", "behaviour.recall@100"]
[base.data]
source = "synthetic"
synthetic_users = 60
synthetic_items = 30
synthetic_events = 12
[base.train]
precision = "float32"
xla = "off"
[base.text]
encoder = "tiny"
engine = "tensorflow"
corpora = []
epochs = 1
domain_rows = 100
[base.text.slots]
rows = 0
predict = false
[base.behaviour]
epochs = 3
min_steps = 0
max_history = 20
[base.retrieval]
epochs = 1
min_steps = 0
batch_size = 32
[base.evaluate]
split = "test"
bootstrap = 20
[cells]
lstm.behaviour.model = {{ name = "lstm", units = 8, dim = 8 }}
sasrec.behaviour.model = {{ name = "sasrec", units = 8, dim = 8 }}
"""


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Makes a suite "tiny" that stops at a stage; results and runs go to folders of the test."""
    for name in ("SUITES", "RESULTS", "RUNS"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(suite, name, tmp_path / name)

    def make(upto):
        (tmp_path / "SUITES" / "tiny.toml").write_text(TINY.format(upto=upto))
        return tmp_path

    return make


def kept(folder, cell):
    return json.loads((folder / "RESULTS" / "tiny" / f"{cell}.json").read_text("utf-8"))["metrics"]


def test_a_cell_that_stops_at_behaviour_keeps_its_test_figures(tiny, capsys):
    folder = tiny("behaviour")
    evaluate.main(["--suite", "tiny", "--cells", "sasrec-1"])
    metrics, run = kept(folder, "sasrec-1"), folder / "RUNS" / "tiny" / "sasrec-1"
    assert {metrics[f"behaviour.{m}"]["split"] for m in ("ndcg@10", "hr@10", "recall@100")} == {"test"}
    assert metrics["behaviour.ndcg@10"]["n"] == 60
    assert metrics["behaviour.half_a.ndcg@10"]["split"] == "validation"
    assert "retrieval.ndcg@10" not in metrics
    assert "| sasrec | 1 |" in capsys.readouterr().out

    dataset = stages.load_dataset(run)
    own = suite.all_cells("tiny", ["sasrec"])[0].config
    model = behaviour.load(own, dataset, text.load_item_vectors(run / "text"), run / "behaviour")
    queries = dataset.split.test
    scores = []  # each user asked alone
    for row in range(60):
        history = data.histories(dataset.interactions, queries, np.array([row]), own.export.max_history)
        scores.append(
            (
                model.signals(type(history)(*history), queries.time[row : row + 1]).query
                @ np.transpose(model.item_table())
            )[0]
        )
    top = evaluation.top_items(lambda rows: np.stack([scores[r] for r in rows]), dataset, queries, 100)
    expected = evaluation.judge(top, queries)["ndcg@10"].mean()
    assert metrics["behaviour.ndcg@10"]["value"] == pytest.approx(expected, abs=1e-6)


def test_a_cell_that_stops_at_retrieval_judges_both_models_alone(tiny):
    folder = tiny("retrieval")
    evaluate.main(["--suite", "tiny", "--cells", "lstm-1"])
    metrics = kept(folder, "lstm-1")
    assert metrics["retrieval.recall@100"]["split"] == metrics["behaviour.recall@100"]["split"] == "test"
    assert "system.ndcg@10" not in metrics


def test_a_stopped_cell_goes_on_after_its_last_whole_pass(tiny, monkeypatch, caplog):
    folder, make_judge = tiny("behaviour"), behaviour_stage.make_judge

    def dies_in_pass_3(*arguments):
        judge_as_ever, calls = make_judge(*arguments), iter(range(1, 9))

        def judge_or_die():
            if next(calls) == 3:
                raise KeyboardInterrupt
            return judge_as_ever()

        return judge_or_die

    with monkeypatch.context() as patch:
        patch.setattr(behaviour_stage, "make_judge", dies_in_pass_3)
        with pytest.raises(KeyboardInterrupt):
            evaluate.main(["--suite", "tiny", "--cells", "lstm-1"])
    assert not list((folder / "RESULTS").iterdir())
    with caplog.at_level(logging.INFO):
        evaluate.main(["--suite", "tiny", "--cells", "lstm-1"])
    assert "behaviour: going on after pass 2" in caplog.text
    assert "behaviour.ndcg@10" in kept(folder, "lstm-1")


def test_rivals_are_trained_once_and_reported_as_baselines(tiny, caplog):
    folder = tiny("behaviour")
    toml = folder / "SUITES" / "tiny.toml"
    rivals = 'rivals = [{ name = "gru", units = 8, dim = 8 }, { name = "sasrec", units = 4, dim = 4 }]'
    toml.write_text(toml.read_text().replace("bootstrap = 20", f"bootstrap = 20\n{rivals}"))
    evaluate.main(["--suite", "tiny", "--cells", "lstm-1"])
    metrics, run = kept(folder, "lstm-1"), folder / "RUNS" / "tiny" / "lstm-1"
    for name in ("gru", "sasrec"):
        assert metrics[f"baseline.{name}.ndcg@10"]["split"] == "test"
        assert metrics[f"baseline.{name}.half_a.ndcg@10"]["split"] == "validation"
        assert metrics[f"seconds.rivals.{name}"]["value"] > 0
        assert (run / "rivals" / name / "weights.npz").exists()
    cell = suite.all_cells("tiny", ["lstm"])[0]
    assert config.build(config.Config, config.to_table(cell.config), "again") == cell.config
    with caplog.at_level(logging.INFO):
        judged.judge_models(cell.config, run, "behaviour")
    assert "rivals/gru: nothing to do" in caplog.text


def test_rivals_that_do_not_exist_or_come_twice_are_refused():
    for rivals, said in (
        (["gnu"], "expected one of gru, lstm, sasrec, got 'gnu'"),
        (["gru", "gru"], "each model once"),
    ):
        with pytest.raises(config.ConfigError, match=said):
            check(config.build(config.Config, {"evaluate": {"rivals": rivals}}, "test"))
