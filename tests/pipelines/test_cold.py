"""Held-out items and a second run that starts from the first, through the stages themselves, on synthetic data."""

import dataclasses
import logging

import numpy as np
import pytest

from pipelines import arguments, cold, stages
from tfrec_llm import config as configs
from tfrec_llm import evaluation, serving
from tfrec_llm.config import ConfigError
from tfrec_llm.data.incidence import training_counts

pytestmark = pytest.mark.slow
SMALL = [
    "data.held_out_items=0.15", "data.synthetic_users=200", "text.domain_rows=1200", "text.slots.rows=0",
    "text.epochs=1", "behaviour.epochs=4", "behaviour.min_steps=0", "retrieval.epochs=2", "retrieval.min_steps=0",
    "evaluate.split=test", "evaluate.bootstrap=50",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cold") / "run"
    config = configs.load(arguments.CONFIGS / "smoke.toml", SMALL)
    stages.run_stages(config, folder, upto="retrieval")
    return config, folder


def test_new_items_have_vectors_figures_and_a_place(run):
    config, folder = run
    dataset = stages.load_dataset(folder)
    held = dataset.split.cold.items
    path = serving.load_signal_path(config, dataset, folder)
    tables = [path.behaviour.item_table().numpy(), path.towers.item_table().numpy()]
    for table in tables:
        lengths = np.linalg.norm(table[:, :-1], axis=1)
        assert lengths[held].mean() < 2 * lengths[~held][2:].mean()  # foretold, not noise
        assert table[held, -1].min() > table[~held, -1][2:].min() - 1
    assert training_counts(dataset)[held].sum() == 0
    rows = len(dataset.split.test.user)
    tops = dict.fromkeys(("system", "behaviour", "retrieval"), np.tile(np.arange(2, 42), (rows, 1)))
    text = np.asarray(path.text.item_vectors.text)
    found = cold.entries(config, dataset, cold.scores(path), text, tops)
    for row in ("blend", "behaviour", "retrieval", "random", "text_knn", "text_knn_recency"):
        entry = found[f"cold.{row}.ndcg@10"]
        assert entry["n"] == len(dataset.split.cold.test.user)
        assert entry["split"] == "test"
    assert found["cold.share@100"]["value"] == pytest.approx(held[2:42].mean())
    evaluation.merge_report(folder / "metrics.json", found)
    plain = dataclasses.replace(dataset, split=dataclasses.replace(dataset.split, cold=None))
    assert cold.entries(config, plain, cold.scores(path), text, tops) == {}


def test_a_second_run_starts_from_the_first(run, tmp_path, caplog):
    _, folder = run
    config = configs.load(arguments.CONFIGS / "smoke.toml", [*SMALL, f"train.init_from={folder}", "seed=2"])
    with caplog.at_level(logging.INFO):
        stages.run_stages(config, tmp_path / "second", upto="retrieval")
    for label in ("text head intent", "behaviour", "retrieval"):
        assert f"{label}: from {folder}: carried " in caplog.text
    with pytest.raises(ConfigError, match="expected another run than"):
        stages.run_stages(config, folder, upto="data")
    elsewhere = dataclasses.replace(config, train=dataclasses.replace(config.train, init_from=str(tmp_path / "none")))
    with pytest.raises(ConfigError, match=r"train\.init_from: expected the folder of a finished run"):
        stages.run_stages(elsewhere, tmp_path / "third", upto="data")
    assert not (tmp_path / "third" / "data").exists()
