"""retrieval.train: a rule is learnt and noise is not; what is saved is what is loaded."""

import dataclasses

import numpy as np
import pytest

from tfrec_llm import retrieval
from tfrec_llm.config import Component, Config, ConfigError, Retrieval, Train

OWN = {"dim": 12, "hidden": 24, "context": 6, "targets": 5, "negatives": 20, "dropout": 0.0}
FIXED = Train(precision="float32", xla="off")


def config(epochs=1, **changes):
    own = Component("two_towers", OWN | changes)
    return Config(
        seed=3,
        train=FIXED,
        retrieval=Retrieval(own, batch_size=50, epochs=epochs, min_steps=0, patience=12, learning_rate=2e-2),
    )


def test_learns_the_rule(world, stage):
    made, settings, where = world(), config(epochs=7), stage()
    figures = retrieval.train(settings, made.dataset, None, where)
    model = retrieval.load(settings, made.dataset, None, where.folder)
    test = retrieval.judge(model, made.dataset, made.dataset.split.test, np.arange(60), 20)
    assert test["ndcg@10"] > 0.9
    assert figures["retrieval.half_a.recall@100"] == {
        "value": 1.0, "ci95": None, "over": "users", "n": 30, "split": "validation"
    }  # fmt: skip


def test_does_not_learn_noise(world, stage):
    made, settings, where = world(noise=1.0, repeat=True), config(epochs=2), stage()
    retrieval.train(settings, made.dataset, None, where)
    model = retrieval.load(settings, made.dataset, None, where.folder)
    test = retrieval.judge(model, made.dataset, made.dataset.split.test, np.arange(60), 20)
    assert test["ndcg@10"] < 0.45  # by chance .23, and the best of 20 items by luck on 60 users


def test_baskets_are_learnt_too(world, stage):
    made, gains = world(per_step=2, step="basket", repeat=True), []
    for seed in range(3, 11):  # sixty steps on so little data
        # one answer in a window: the later ones of the ring would be no wrong ones for the next
        settings, where = dataclasses.replace(config(epochs=5, targets=1), seed=seed), stage(f"towers{seed}")
        retrieval.train(settings, made.dataset, None, where)
        model = retrieval.load(settings, made.dataset, None, where.folder)
        gains.append(retrieval.judge(model, made.dataset, made.dataset.split.validation, np.arange(60), 20)["ndcg@10"])
    assert np.mean(gains) > 0.6  # by chance .23


def test_files(world, stage):
    made, settings, where = world(), config(epochs=1), stage()
    retrieval.train(settings, made.dataset, None, where)
    assert [path.name for path in where.folder.iterdir()] == ["towers.npz"]
    assert (where.logs / "candidates.tsv").is_file()
    with pytest.raises(ValueError, match=r"items/ids expected \[22, 7\], got \[22, 12\]"):
        retrieval.load(config(dim=7), made.dataset, None, where.folder)


def test_nobody_to_judge_by(world, stage):
    made, where = world(), stage()
    made.dataset.split.half_b[:] = True
    assert set(retrieval.train(config(), made.dataset, None, where)) == {"retrieval.passes"}
    assert retrieval.load(config(), made.dataset, None, where.folder).item_table().shape == [22, 13]


def test_what_was_had_long_ago_stays_out(world, stage):
    made, where = world(), stage()
    retrieval.train(config(), made.dataset, None, where)
    model, queries = retrieval.load(config(), made.dataset, None, where.folder), made.dataset.split.test
    queries.relevant[:] = made.dataset.interactions.item[queries.begin]  # what each user had first
    assert retrieval.judge(model, made.dataset, queries, np.arange(60), max_history=2)["recall@100"] == 0


def test_settings_are_strict(world, stage):
    where = stage()
    with pytest.raises(ConfigError, match="unknown key 'dims'; did you mean 'dim'"):
        retrieval.train(config(dims=3), world().dataset, None, where)
    with pytest.raises(ConfigError, match="expected one of two_towers, got 'three'"):
        retrieval.train(Config(retrieval=Retrieval(Component("three"))), world().dataset, None, where)
