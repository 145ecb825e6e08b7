"""The sequence model by hand, with an LSTM as its body; what every model promises is in `test_contract`."""

import numpy as np
import pytest
import tensorflow as tf

from tests.behaviour.worlds import cut, history
from tfrec_llm.behaviour.recurrent import RecurrentSettings, lstm
from tfrec_llm.behaviour.sequence import SequenceModel, _targets
from tfrec_llm.layers import ItemTable, steps
from tfrec_llm.types import History, Pieces

ROWS, EVENTS = 11, 3
SETTINGS = RecurrentSettings(units=6, dim=4, side_dim=2)
TEXT = np.random.default_rng(1).normal(size=(ROWS, 5)).astype(np.float32)


def make(basket=False, num_sampled=0, fixed_steps=False, settings=SETTINGS) -> SequenceModel:
    tf.keras.utils.set_random_seed(3)
    table = ItemTable(ROWS, settings.dim, TEXT, settings.id_dropout, scale=0.5)
    popularity = np.arange(ROWS)
    model = SequenceModel(settings, lstm(settings), table, EVENTS, basket, popularity, num_sampled, 7, fixed_steps)
    model.build()
    model.body.start.assign(tf.random.stateless_normal(model.body.start.shape, (1, 2)))
    return model


def test_event_and_gap_losses_by_prefix():
    model, whole = make(), history(lengths=[6] * 4)
    prefixes = [model.signals(cut(whole, length)) for length in range(6)]
    logits = np.stack([p.event for p in prefixes], axis=1)  # [B, T, V]
    event = whole.event.numpy() - 2
    expected = tf.nn.sparse_softmax_cross_entropy_with_logits(np.maximum(event, 0), logits).numpy()[event >= 0].mean()
    np.testing.assert_allclose(model.loss_of(whole)["event"], expected, rtol=1e-5)
    error = np.stack([p.time_gap for p in prefixes], axis=1) - steps.log_gaps(whole)
    np.testing.assert_allclose(model.loss_of(whole)["gap"], np.mean(error[:, 1:] ** 2), rtol=1e-5)


@pytest.mark.parametrize("basket", [False, True])
@pytest.mark.parametrize("length", [0, 1, 4])
def test_empty_history_is_the_start_state(basket, length):
    model = make(basket)
    signals = model.signals(history(rows=3, length=length, lengths=[0] * 3))
    np.testing.assert_allclose(signals.state, np.tile(model.body.start[0], (3, 1)), atol=1e-6)
    assert all(np.isfinite(x).all() for x in signals)


def test_order_within_a_basket_does_not_matter():
    model = make(basket=True)
    time = tf.constant([[9, 9, 30, 30, 30]], tf.int64)
    one = History(tf.constant([[2, 3, 4, 5, 6]]), tf.constant([[2, 3, 4, 3, 2]]), time)
    other = History(tf.constant([[3, 2, 6, 4, 5]]), tf.constant([[3, 2, 2, 4, 3]]), time)
    np.testing.assert_allclose(model.signals(one).query, model.signals(other).query, atol=1e-5)


def test_targets_are_never_of_the_same_basket():
    time = tf.constant([[9, 9, 30, 30, 30, 0], [5, 6, 0, 0, 0, 0]], tf.int64)
    item = tf.constant([[2, 3, 4, 1, 6, 0], [7, 8, 0, 0, 0, 0]])
    h = History(item, item, time)
    got = _targets(h, steps.step_index(h, True), 4)
    weight = got.weight.numpy().reshape(2, 6)
    assert weight.tolist() == [[0.5, 0.5, 0.5, 0, 0.5, 0], [1, 1, 0, 0, 0, 0]]  # the unknown item is no target
    rows = got.row.numpy().reshape(2, 6)
    assert rows[0, :5].tolist() == [0, 0, 1, 1, 1]  # state 1 has seen the first basket and nothing of the second
    assert rows[1, :2].tolist() == [4, 5]


def test_basket_loss_by_prefix():
    model = make(basket=True)
    h = History(
        tf.constant([[2, 3, 4, 5, 6]]), tf.constant([[2, 3, 4, 3, 2]]), tf.constant([[9, 9, 30, 30, 30]], tf.int64)
    )
    total = 0.0
    for length, items in ((0, [2, 3]), (2, [4, 5, 6])):
        query = model.signals(cut(h, length)).query
        log_p = tf.nn.log_softmax(tf.matmul(query, model.item_table(), transpose_b=True)[0, 2:]).numpy()
        total -= log_p[np.array(items) - 2].mean()
    np.testing.assert_allclose(model.loss_of(h)["item"], total / 2, rtol=1e-5)


def test_gaps_of_baskets_are_those_between_them():
    model = make(basket=True)
    time = tf.constant([[9, 9, 90_000, 90_000, 90_000, 90_007]], tf.int64)
    h = History(tf.constant([[2, 3, 4, 5, 6, 7]]), tf.constant([[2, 3, 4, 3, 2, 2]]), time)
    foretold = [model.signals(cut(h, length)).time_gap[0] for length in (2, 5)]
    error = np.array(foretold) - np.log2(1 + np.array([89_991, 7]))
    np.testing.assert_allclose(model.loss_of(h)["gap"], np.mean(error**2), rtol=1e-5)


def test_a_piece_from_the_middle_does_not_train_the_start_state():
    model, h = make(), history(rows=2, lengths=[6, 6])
    later = Pieces(*h, tf.constant([True, False]))
    targets = _targets(h, steps.step_index(h, False), 7, later.first)
    weight = targets.weight.numpy().reshape(2, -1)
    assert weight[0, 0] == 1
    assert weight[1, 0] == 0
    assert (weight[:, 1:6] == 1).all()
    begun, middle = (model.loss_of(Pieces(*h, tf.constant([flag] * 2)))["item"] for flag in (True, False))
    assert float(begun) != float(middle)


def test_a_basket_asked_for_in_the_second_of_the_last_one_is_asked_without_time():
    model = make(basket=True)
    model.request.set_weights([tf.random.stateless_normal(w.shape, (4, 4)) for w in model.request.weights])
    h = History(tf.constant([[2, 3]]), tf.constant([[2, 3]]), tf.constant([[9, 30]], tf.int64))
    at = [model.signals(h, tf.constant([time], tf.int64)).query for time in (0, 30, 31)]
    np.testing.assert_array_equal(at[0], at[1])
    assert np.abs(at[0] - at[2]).max() > 0


def test_sampled_loss_and_gradients_are_the_same_under_xla():
    model = make(True, num_sampled=6, fixed_steps=True)

    def loss_and_gradients(batch):
        with tf.GradientTape() as tape:
            loss = model.loss_of(batch)["loss"]
        return [loss, *map(tf.convert_to_tensor, tape.gradient(loss, model.trainable_variables))]

    compiled = tf.function(loss_and_gradients, jit_compile=True)
    for got, expected in zip(compiled(history()), loss_and_gradients(history()), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-4)


def test_sampled_training_with_dropout_compiles_under_xla():
    model = make(True, num_sampled=6, fixed_steps=True, settings=RecurrentSettings(units=6, dim=4, id_dropout=0.2))
    model.compile(optimizer=tf.keras.optimizers.Adam(0.01), jit_compile=True)
    step, batches = model.make_train_function(), iter(tf.data.Dataset.from_tensors(history()).repeat())
    losses = [float(step(batches)["loss"]) for _ in range(30)]
    assert losses[-1] < losses[0]


def test_sampled_loss_is_close_to_the_whole():
    full, sampled = (float(make(num_sampled=n).loss_of(history())["item"]) for n in (0, 20_000))
    assert abs(full - sampled) < 0.01 * full
