"""Other indexes on a finished run: the export refuses them by name, evaluation says what they find."""

import importlib.util
import json
import shutil

import pytest

from pipelines import evaluate, export, indexes, train
from tfrec_llm.config import Config, ConfigError

SCANN = ["--config", "smoke", "--set", "retrieval.index=scann", "--run"]


@pytest.mark.parametrize("program", [train, export])
def test_no_export_is_begun_with_an_index_that_no_server_has(program, tmp_path):
    with pytest.raises(ConfigError, match=r"retrieval\.index: expected exact for an export, got scann: a stock server"):
        program.main([*SCANN, str(tmp_path / "run")])
    assert not list(tmp_path.iterdir())


def test_the_exact_index_is_not_judged_beside_itself():
    assert indexes.rank_by_index(Config(), None, None, None) == ({}, {})


@pytest.mark.skipif(importlib.util.find_spec("scann") is None, reason="scann is an optional extra")
def test_evaluation_measures_it_beside_the_exact_one(smoke_run, tmp_path, caplog):
    run = shutil.copytree(smoke_run, tmp_path / "run")
    caplog.set_level("INFO")
    evaluate.main([*SCANN, str(run)])
    metrics = json.loads((run / "metrics.json").read_text("utf-8"))["metrics"]
    assert metrics["retrieval.scann.recall_of_exact@100"]["value"] == 1  # so few items are scored whole
    assert metrics["retrieval.scann.recall@100"]["value"] == pytest.approx(metrics["retrieval.recall@100"]["value"])
    assert "recall of the exact top 100 is 1.0000" in caplog.text
