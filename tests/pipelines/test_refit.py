"""`train.refit`: what had been validation is learnt from too, for a row of its own."""

import shutil

import numpy as np
import pytest

from pipelines import evaluate, refit, stages
from tfrec_llm import config as configs
from tfrec_llm import evaluation
from tfrec_llm.evaluation.gains import REFIT
from tfrec_llm.training import read_stage

ROW = f"{REFIT}.ndcg@10"


@pytest.fixture(scope="module")
def run(smoke_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("refit") / "run"
    shutil.copytree(smoke_run, folder)
    return folder


def judge(run, *settings):
    command = ["--config", "smoke", "--run", str(run), "--set", "train.refit=true", *settings]
    evaluate.main(command)
    return evaluation.read_report(run / "metrics.json")["metrics"]


def test_the_validation_is_no_judge_of_it(run):
    assert ROW not in judge(run, "evaluate.split=validation")
    assert not (run / "refit").exists()


def test_it_is_a_row_of_the_test_and_leaves_the_run_as_it_was(run):
    kept = {name: read_stage(run, name) for name in ("behaviour", "retrieval/towers", "retrieval/blend", "ranking")}
    metrics = judge(run, "evaluate.split=test")
    assert 0 < metrics[ROW]["value"] <= 1
    assert metrics["gain.system.over.system_refit.ndcg@10"]["n"] == metrics[ROW]["n"]
    assert {name: read_stage(run, name) for name in kept} == kept
    again = read_stage(run / "refit", "behaviour")
    before, after = (np.load(folder / "behaviour" / "weights.npz") for folder in (run, run / "refit"))
    assert any(np.abs(before[name] - after[name]).max() > 1e-3 for name in before.files)
    judge(run, "evaluate.split=test")
    assert read_stage(run / "refit", "behaviour") == again  # nothing is trained twice


def test_the_blend_keeps_its_weights_and_the_test_stays_unseen(run):
    config = configs.load(run / "config.toml")
    served = refit.load_refit(config, run).path.source
    ours = np.load(run / "retrieval" / "blend" / "source.npz")
    np.testing.assert_array_equal(served.weights, ours["weights"])
    dataset = stages.load_dataset(run)
    test = dataset.split.test
    learnt = refit.data.with_validation(dataset.split).train
    assert learnt.sum() == dataset.split.train.sum() + len(test.user)  # one more event of each user
    assert not learnt[test.end].any()


def test_held_out_items_are_refused(run):
    with pytest.raises(configs.ConfigError, match=r"train\.refit: expected data\.held_out_items = 0"):
        refit.load_refit(configs.load(run / "config.toml", ["data.held_out_items=0.1"]), run)
