"""retrieval.two_towers: the loss by hand, the correction, what a query may see, XLA, half precision."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.config import Train
from tfrec_llm.layers.lazy_adam import make_adam
from tfrec_llm.retrieval.pairs import Pairs, pair_passes
from tfrec_llm.retrieval.sampling import comparable, sampling_probability
from tfrec_llm.retrieval.two_towers import TwoTowers, TwoTowersSettings
from tfrec_llm.training import Compute, precision
from tfrec_llm.types import History, ItemVectors

SETTINGS = TwoTowersSettings(
    dim=8,
    hidden=16,
    half_lives=(0.5, 4.0),
    context=6,
    targets=4,
    negatives=12,
    dropout=0.0,
    id_dropout=0.0,
    time_dropout=0.0,
)


def towers(dataset, items=None, **changes):
    tf.keras.utils.set_random_seed(3)
    model = TwoTowers(dataclasses.replace(SETTINGS, **changes), dataset, items, 40)
    zeros = tf.zeros([1, 1], tf.int32)
    model(History(zeros, zeros, tf.zeros([1, 1], tf.int64)))
    return model


def one_batch(dataset, **changes):
    options = {"targets": 4, "context": 6, "batch_size": 40, "negatives": 12, "seed": 5}
    return next(iter(pair_passes(dataset, **options | changes)(0)))


def test_other_answers_of_a_window_are_no_wrong_ones(world, as_history):
    """A window that answers 3 and 4 is not compared with a drawn 4, nor with the 4 of another window."""
    history = as_history([2, 3, 4], [5, 6, 4])
    pairs = Pairs(history, tf.constant([[1, 2], [-1, -1]]), tf.constant([[4], [7]]))
    model = towers(world().dataset)
    with tf.GradientTape() as tape:
        loss = model.compute_loss(pairs)
    pushed = tf.convert_to_tensor(tape.gradient(loss, model.popularity)).numpy()
    assert pushed[4] < 0 < pushed[7]
    ids = tf.constant([3, 4, 6, 4, 4, 3])  # of two windows, and two that are drawn
    compared = comparable(tf.constant([2, 2]), tf.constant([True] * 4), ids).numpy()
    own = np.eye(4, 6, dtype=bool)
    wrong = np.array([[0, 0, 1, 0, 0, 0]] * 2 + [[1, 0, 0, 0, 0, 1]] * 2, bool)
    np.testing.assert_array_equal(compared, own | wrong)


def test_loss_by_hand(world, as_history):
    """Two windows of one pair each, one negative: a softmax over own, other and negative, corrected."""
    model = towers(world().dataset)
    history = as_history([2, 3], [4, 5])
    got = model.compute_loss(Pairs(history, tf.constant([[1], [1]]), tf.constant([[6], [3]])))
    query = model.query(History(*(part[:, :1] for part in history))).numpy()  # [2, Q2]
    table, sampled = model.item_table().numpy(), model._sampled.numpy()
    scores = query @ table.T - np.log(sampled)
    # row 0: own 3, other 5, negative 6; the negative 3 is an accidental hit of its own target
    first = [scores[0, 3], scores[0, 5], scores[0, 6]]
    second = [scores[1, 5], scores[1, 3], scores[1, 6], scores[1, 3]]
    want = np.mean([np.log(np.sum(np.exp(s))) - s[0] for s in (first, second)])
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_padding_targets_do_not_count(world, as_history):
    model = towers(world().dataset)
    history, negative = as_history([2, 3], [4, 5]), tf.constant([[6], [3]])
    small = model.compute_loss(Pairs(history, tf.constant([[1], [1]]), negative))
    padded = model.compute_loss(Pairs(history, tf.constant([[1, -1], [-1, 1]]), negative))
    np.testing.assert_allclose(small, padded, rtol=1e-5)


@pytest.mark.parametrize("batch_size", [40, 4])  # by way of the whole table, and item by item
def test_xla_gives_the_same_loss_and_step(world, batch_size):
    dataset = world().dataset
    losses, tables = [], []
    for jit in (False, True):
        model = towers(dataset)
        model.compile(optimizer=tf.keras.optimizers.Adam(1e-2), jit_compile=jit)
        step = model.make_train_function()
        batches = iter(tf.data.Dataset.from_tensors(one_batch(dataset, batch_size=batch_size)).repeat())
        losses.append([float(step(batches)["loss"]) for _ in range(2)])
        tables.append(model.item_table().numpy())
    np.testing.assert_allclose(*losses, rtol=1e-4)
    np.testing.assert_allclose(*tables, atol=1e-3)


def test_a_lazy_step_moves_the_rows_it_looked_up(world):
    dataset = world(items=200).dataset
    model, batch = towers(dataset), one_batch(dataset, batch_size=4, negatives=4)
    model.compile(make_adam(1e-2, 202, Train(lazy_rows=10)))
    before = model.items.ids.numpy(), model.popularity.numpy()
    model.train_step(batch)
    asked = np.unique(np.concatenate([batch.history.item.numpy().ravel(), batch.negative.numpy().ravel()]))
    moved = (model.items.ids.numpy() != before[0]).any(axis=1), model.popularity.numpy() != before[1]
    for rows in moved:
        assert rows.any()
        assert set(np.flatnonzero(rows)) <= set(asked)


def test_items_that_training_never_saw_are_no_negatives(world):
    dataset = world(items=60, users=30).dataset
    keep = dataset.split.train & (dataset.interactions.item < 30)
    fewer = dataclasses.replace(dataset, split=dataclasses.replace(dataset.split, train=keep))
    drawn = np.concatenate([b.negative.numpy().ravel() for b in pair_passes(
        fewer, targets=4, context=6, batch_size=40, negatives=64, seed=5)(0)])  # fmt: skip
    assert set(drawn) <= set(dataset.interactions.item[keep])
    np.testing.assert_allclose(sampling_probability(np.array([0, 0, 3.0, 1.0, 0.0]), 10, 4)[2:4], [1.0, 4.5 / 9.5])


def test_mixed_precision_gives_float32_and_nearly_the_same_loss(world):
    dataset = world().dataset
    batch, losses = one_batch(dataset), []
    for name in ("float32", "mixed_bfloat16"):
        with precision(Compute(name, False)):
            model = towers(dataset)
        assert model.item_table().dtype == tf.float32
        assert model.query(batch.history).dtype == tf.float32
        losses.append(float(model.compute_loss(batch, training=True)))
    assert losses[0] == pytest.approx(losses[1], rel=2e-2)


def test_a_target_never_sees_its_own_basket(world):
    dataset = world(per_step=3, step="basket").dataset
    model, batch = towers(dataset), one_batch(dataset)
    time = batch.history.time.numpy()
    place = np.maximum(batch.target.numpy()[:, :1], 0)  # [S, 1] the first target of each window
    same = time >= np.take_along_axis(time, place, 1)  # its basket and all after it
    other = batch.history._replace(item=tf.constant(np.where(same & (time > 0), 9, batch.history.item.numpy())))
    steps = np.cumsum(np.pad(time[:, 1:] != time[:, :-1], [(0, 0), (1, 0)]), axis=1)
    until = tf.constant(np.take_along_axis(steps, place, 1), tf.int32)
    rows = [model.encoder(model.items(h.item), h, until) for h in (batch.history, other)]
    np.testing.assert_allclose(*rows, atol=1e-6)


def test_later_events_change_nothing(world):
    dataset = world().dataset
    events, later = dataset.interactions, ~dataset.split.train
    item = events.item.copy()
    item[later] = np.random.default_rng(1).permutation(item[later])
    shuffled = dataclasses.replace(dataset, interactions=dataclasses.replace(events, item=item))
    for a, b in zip(towers(dataset).weights, towers(shuffled).weights, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(one_batch(dataset), one_batch(shuffled), strict=True):
        for x, y in zip(tf.nest.flatten(a), tf.nest.flatten(b), strict=True):
            np.testing.assert_array_equal(x, y)


def test_text_and_rare_items(world):
    dataset = world().dataset
    text = np.random.default_rng(0).normal(size=[22, 6]).astype(np.float32)
    items = ItemVectors(text, None, None, None, np.ones([22, 1], bool))
    model = towers(dataset, items, id_dropout=0.5)
    loss = model.compute_loss(one_batch(dataset), training=True)
    assert np.isfinite(float(loss))
    assert model.item_table().shape == [22, 9]
    ids = tf.constant([[2, 3]])
    by_table, by_row = tf.gather(model.items.table(), ids), model.items(ids)
    np.testing.assert_allclose(by_table, by_row, atol=1e-6)


def test_frozen_towers_answer_the_same(world, as_history):
    text = np.random.default_rng(0).normal(size=[22, 6]).astype(np.float32)
    model = towers(world().dataset, ItemVectors(text, None, None, None, np.ones([22, 1], bool)))
    before = model.query(as_history([2, 3, 4], [], [5]))
    model.freeze()
    np.testing.assert_allclose(before, model.query(as_history([2, 3, 4], [], [5])), atol=1e-6)


def test_a_row_alone_and_an_empty_history(world, as_history):
    model = towers(world().dataset)
    together = model.query(as_history([2, 3, 4], [], [5]))
    assert np.isfinite(together).all()
    np.testing.assert_allclose(together[2], model.query(as_history([5]))[0], atol=1e-5)
    np.testing.assert_allclose(together[1], model.query(as_history([], width=1))[0], atol=1e-5)
