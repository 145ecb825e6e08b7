"""retrieval.train: a rule is learnt and noise is not; what is saved is what is loaded."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm import retrieval
from tfrec_llm.config import Component, Config, ConfigError, Retrieval, Train
from tfrec_llm.data import histories
from tfrec_llm.data.content import ContentColumns
from tfrec_llm.retrieval.catalogue_facts import training_counts
from tfrec_llm.types import History

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


def test_attributes_are_read_beside_ids_and_known_of_items_that_come_later(world, stage):
    made, where, settings = world(), stage(), config(epochs=4, attributes=True, id_dropout=0.8)
    kinds, item = [()] * 22, 2
    for step in range(20):  # whoever had an even one has an odd one next
        kinds[item], item = (("even", "odd")[step % 2],), int(made.ring[item])
    catalogue = dataclasses.replace(made.dataset.catalogue, attributes={"kind": tuple(kinds)})
    dataset = dataclasses.replace(made.dataset, catalogue=catalogue)
    retrieval.train(settings, dataset, None, where)
    model = retrieval.load(settings, dataset, None, where.folder)
    told, asked = model.items.text.numpy(), dataset.split.test
    assert told.shape == (22, 2)
    query = model.query(History(*map(tf.constant, histories(dataset.interactions, asked, np.arange(60), 6)))).numpy()[
        :, :-1
    ]
    likes = query @ (told @ model.items.projection.numpy()).T  # by attributes alone
    right = np.array([kind == kinds[item] for item in asked.relevant for kind in kinds[2:]]).reshape(60, 20)
    assert (np.sum(likes[:, 2:] * right, 1) > np.sum(likes[:, 2:] * ~right, 1)).mean() > 0.9

    more = {"kind": (*kinds, ("odd",), ("new",))}
    ids, price = np.append(catalogue.item_ids, ["x", "y"]), np.append(catalogue.price, [np.nan, np.nan])
    grown = dataclasses.replace(
        catalogue, item_ids=ids, titles=ids, texts=ids, attributes=more, price=price, available=np.arange(24) >= 2
    )
    columns = ContentColumns.of(catalogue, None)
    content = columns.features(catalogue, None), training_counts(dataset), columns.features(grown, None)[22:]
    rows = retrieval.later_rows(where.folder, *content, np.zeros([2, 0]))
    larger = retrieval.load(settings, dataclasses.replace(dataset, catalogue=grown), None, where.folder, rows)
    np.testing.assert_array_equal(larger.item_table()[:22], model.item_table())
    np.testing.assert_allclose(larger.items.text[22:], [told[kinds.index(("odd",))], [0, 0]], atol=1e-6)
    assert np.isfinite(larger.item_table()).all()
