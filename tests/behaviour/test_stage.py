"""Training on worlds with a known answer, saving, loading, and going on after a kill."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.behaviour.worlds import chain, dataset_of
from tfrec_llm import behaviour
from tfrec_llm.behaviour import stage as behaviour_stage
from tfrec_llm.behaviour.judging import judge, ranker
from tfrec_llm.config import Behaviour, Component, Config, ConfigError, Train
from tfrec_llm.training import Stage
from tfrec_llm.types import History, ItemVectors

ITEMS = 40
SETTINGS = Behaviour(
    model=Component("lstm", {"units": 24, "dim": 12, "side_dim": 4, "dropout": 0.1}),
    max_history=24,
    batch_size=16,
    epochs=8,
    patience=8,
    min_steps=0,
    learning_rate=0.02,
    weight_average=0.9,
)
CONFIG = Config(behaviour=SETTINGS, train=Train(precision="float32", xla="off"))


def with_settings(**changes) -> Config:
    return dataclasses.replace(CONFIG, behaviour=dataclasses.replace(SETTINGS, **changes))


def make_stage(folder) -> Stage:
    for name in ("results", "work", "logs"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return Stage("behaviour", folder / "results", folder / "work", folder / "logs")


def trained(config, dataset, folder):
    """The loaded model and its figures on the test queries."""
    stage = make_stage(folder)
    behaviour.train(config, dataset, None, stage)
    model = behaviour.load(config, dataset, None, stage.folder)
    return model, on_test(ranker(model), dataset)


def on_test(rank, dataset):
    return judge(rank, dataset, dataset.split.test, np.arange(len(dataset.split.test.user)), 24)


def popularity(dataset):
    counts = np.bincount(dataset.interactions.item[dataset.split.train], minlength=ITEMS + 2)
    counts[:2] = -1
    top = np.argsort(-counts, kind="stable")[:ITEMS]
    return on_test(lambda history, *_: tf.tile(top[None], (tf.shape(history.item)[0], 1)), dataset)


def test_learns_a_chain(tmp_path):
    dataset = dataset_of(chain(300, 32, ITEMS), ITEMS)
    _, got = trained(CONFIG, dataset, tmp_path)
    assert got["ndcg@10"] > 0.9
    assert popularity(dataset)["ndcg@10"] < 0.25


def test_learns_a_chain_from_samples(tmp_path):
    config = with_settings(full_softmax_max_items=1, num_sampled=16)
    _, got = trained(config, dataset_of(chain(300, 32, ITEMS), ITEMS), tmp_path)
    assert got["ndcg@10"] > 0.9


def test_finds_nothing_in_noise(tmp_path):
    dataset = dataset_of(chain(300, 32, ITEMS, predictability=0.0), ITEMS)
    _, got = trained(with_settings(epochs=3), dataset, tmp_path)
    assert got["ndcg@10"] < popularity(dataset)["ndcg@10"] + 0.05  # three standard errors of 300 queries


def test_learns_a_chain_of_baskets(tmp_path):
    """Baskets of two: items 2k and 2k + 1 come together, and the k follow a chain."""
    kinds = chain(300, 14, ITEMS // 2) - 2
    item = np.stack([2 * kinds, 2 * kinds + 1], axis=2).reshape(300, 28) + 2
    times = np.tile(np.repeat(np.arange(1, 15) * 60, 2), (300, 1))
    dataset = dataset_of(item[:, 1:], ITEMS, "basket", times[:, 1:])  # the last basket is one item, the answer another
    model, _ = trained(CONFIG, dataset, tmp_path)
    rows = np.arange(300)
    got = judge(ranker(model), dataset, dataset.split.validation, rows, 24)
    assert got["ndcg@10"] > 0.5  # both items of the next basket are equally right, one of them is asked for


def test_what_is_loaded_is_what_was_judged(tmp_path):
    dataset, stage = dataset_of(chain(60, 12, ITEMS), ITEMS), make_stage(tmp_path)
    entries = behaviour.train(with_settings(epochs=2), dataset, None, stage)
    model = behaviour.load(CONFIG, dataset, None, stage.folder)
    half_a = np.flatnonzero(~dataset.split.half_b)
    got = judge(ranker(model), dataset, dataset.split.validation, half_a, 24)
    assert entries["behaviour.half_a.ndcg@10"]["value"] == pytest.approx(got["ndcg@10"], abs=1e-9)
    assert (stage.logs / "items.tsv").exists()


def test_item_vectors_of_a_loaded_model_are_looked_up(tmp_path):
    dataset, stage = dataset_of(chain(60, 12, ITEMS), ITEMS), make_stage(tmp_path)
    vectors = np.random.default_rng(0).normal(size=[ITEMS + 2, 8]).astype(np.float32)
    text = ItemVectors(vectors, None, None, None, np.ones([ITEMS + 2, 1], bool))
    behaviour.train(with_settings(epochs=1), dataset, text, stage)
    model = behaviour.load(CONFIG, dataset, text, stage.folder)
    item = tf.constant([[2, 3, 4, 0]])
    asked = History(item, tf.minimum(item, 2), tf.cast(item, tf.int64))
    frozen = model.signals(asked)
    model.table.projection.assign(0 * model.table.projection)  # what is served has its vectors already
    np.testing.assert_array_equal(model.signals(asked).query, frozen.query)
    model.freeze()
    assert np.abs(model.signals(asked).query - frozen.query).max() > 1e-3


def test_other_settings_do_not_fit_the_weights(tmp_path):
    dataset, stage = dataset_of(chain(60, 12, ITEMS), ITEMS), make_stage(tmp_path)
    behaviour.train(with_settings(epochs=1), dataset, None, stage)
    other = with_settings(model=Component("lstm", {"units": 8}))
    with pytest.raises(ValueError, match="body/kernel"):
        behaviour.load(other, dataset, None, stage.folder)


def test_a_killed_training_goes_on(tmp_path, monkeypatch):
    dataset, config = dataset_of(chain(60, 12, ITEMS), ITEMS), with_settings(epochs=4)
    whole, killed = make_stage(tmp_path / "whole"), make_stage(tmp_path / "killed")
    behaviour.train(config, dataset, None, whole)

    def dies_in_pass_3(model, *arguments):
        judge_as_ever, calls = make_judge(model, *arguments), iter(range(1, 9))

        def judge_or_die():
            if next(calls) == 3:
                raise KeyboardInterrupt
            return judge_as_ever()

        return judge_or_die

    make_judge = behaviour_stage.make_judge
    with monkeypatch.context() as patch:
        patch.setattr(behaviour_stage, "make_judge", dies_in_pass_3)
        with pytest.raises(KeyboardInterrupt):
            behaviour.train(config, dataset, None, killed)
    assert not list(killed.folder.iterdir())
    behaviour.train(config, dataset, None, killed)
    with np.load(whole.folder / "weights.npz") as a, np.load(killed.folder / "weights.npz") as b:
        for name in a.files:
            np.testing.assert_allclose(b[name], a[name], atol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    "model", [Component("gnu"), Component("lstm", {"unit": 3}), Component("lstm", {"dropout": 2.0})]
)
def test_a_wrong_model_is_refused_before_training(tmp_path, model):
    with pytest.raises(ConfigError, match=r"behaviour\.model"):
        behaviour.train(with_settings(model=model), dataset_of(chain(20, 8, ITEMS), ITEMS), None, make_stage(tmp_path))
