"""The sequence model, with the LSTM as its body: what it promises to training, serving and XLA."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.behaviour.recurrent import RecurrentSettings, lstm
from tfrec_llm.behaviour.sequence import SequenceModel, _targets
from tfrec_llm.layers import ItemTable, steps
from tfrec_llm.types import History

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


def history(rows=4, length=6, seed=0, lengths=None) -> History:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, length + 1, rows) if lengths is None else np.asarray(lengths)
    inside = np.arange(length) < lengths[:, None]
    item = np.where(inside, generator.integers(2, ROWS, (rows, length)), 0).astype(np.int32)
    event = np.where(inside, generator.integers(1, EVENTS + 2, (rows, length)), 0).astype(np.int32)
    time = np.where(inside, np.cumsum(generator.integers(0, 3, (rows, length)), 1) + 50, 0).astype(np.int64)
    return History(tf.constant(item), tf.constant(event), tf.constant(time))


def cut(h: History, length: int) -> History:
    return History(*(x[:, :length] for x in h))


def test_shapes():
    model = make()
    signals = model.signals(history())
    assert [x.shape.as_list() for x in signals] == [[4, 5], [4, 6], [4, EVENTS], [4]]
    assert all(x.dtype == tf.float32 for x in signals)
    assert model.item_table().shape == (ROWS, 5)


def test_query_times_item_table_is_the_logit_of_the_training():
    """The training loss, computed again from what serving gets: each prefix's query against the item table."""
    model, whole = make(), history(lengths=[6] * 4)
    losses = []
    for length in range(6):
        query = model.signals(cut(whole, length)).query
        logits = tf.matmul(query, model.item_table(), transpose_b=True)[:, 2:]
        losses.append(tf.nn.sparse_softmax_cross_entropy_with_logits(whole.item[:, length] - 2, logits))
    np.testing.assert_allclose(model.loss_of(whole)["item"], np.mean(losses), rtol=1e-5)


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
def test_a_row_depends_neither_on_padding_nor_on_others(basket):
    model, batch = make(basket), history(rows=5, length=8)
    together = model.signals(batch)
    padded = model.signals(History(*(tf.pad(x, [[0, 0], [0, 5]]) for x in batch)))
    for got, expected in zip(padded, together, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5)
    for row in range(5):
        length = int(tf.reduce_sum(tf.cast(batch.item[row] > 0, tf.int32)))
        alone = model.signals(History(*(x[row : row + 1, :length] for x in batch)))
        for got, expected in zip(alone, together, strict=True):
            np.testing.assert_allclose(got[0], expected[row], atol=1e-5)


@pytest.mark.parametrize("basket", [False, True])
@pytest.mark.parametrize("length", [0, 1, 4])
def test_empty_history_is_the_start_state(basket, length):
    model = make(basket)
    signals = model.signals(history(rows=3, length=length, lengths=[0] * 3))
    np.testing.assert_allclose(signals.state, np.tile(model.body.start[0], (3, 1)), atol=1e-6)
    assert all(np.isfinite(x).all() for x in signals)


def test_what_serving_may_lack_is_no_error():
    item = tf.constant([[2, 1, 5]])  # an unknown item, no event types, no times
    for event in (0, 1):
        signals = make().signals(History(item, tf.fill((1, 3), event), tf.zeros((1, 3), tf.int64)))
        assert all(np.isfinite(x).all() for x in signals)
    missing = [make().signals(History(item, tf.fill((1, 3), e), tf.zeros((1, 3), tf.int64))).query for e in (0, 1)]
    np.testing.assert_array_equal(*missing)  # padding's number and unknown's mean the same


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


NO_DROPOUT = RecurrentSettings(units=6, dim=4, side_dim=2, dropout=0.0, item_dropout=0.0, side_dropout=0.0)


@pytest.mark.parametrize("basket", [False, True])
def test_training_steps_are_the_same_under_xla(basket):
    losses = []
    for xla in (False, True):
        model = make(basket, fixed_steps=xla, settings=NO_DROPOUT)
        model.compile(optimizer=tf.keras.optimizers.Adam(0.01), jit_compile=xla)
        step, batches = model.make_train_function(), iter(tf.data.Dataset.from_tensors(history()).repeat())
        losses.append([float(step(batches)["loss"]) for _ in range(3)])
    np.testing.assert_allclose(losses[1], losses[0], atol=1e-4)
    assert losses[0][2] < losses[0][0]


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


def test_mixed_precision_trains():
    before = tf.keras.mixed_precision.global_policy()
    for policy in ("mixed_bfloat16", "mixed_float16"):
        tf.keras.mixed_precision.set_global_policy(policy)
        try:
            model = make()
        finally:
            tf.keras.mixed_precision.set_global_policy(before)
        model.compile(optimizer=tf.keras.optimizers.Adam(0.01))
        plain = make()
        np.testing.assert_allclose(model.loss_of(history())["loss"], plain.loss_of(history())["loss"], rtol=0.02)
        step = model.make_train_function()
        assert np.isfinite(float(step(iter(tf.data.Dataset.from_tensors(history())))["loss"]))
        assert all(x.dtype == tf.float32 for x in model.signals(history()))


def test_signals_in_a_saved_model(tmp_path):
    model = make(basket=True)
    spec = [tf.TensorSpec((None, None), kind) for kind in (tf.int32, tf.int32, tf.int64)]

    served = tf.Module()  # of the model only the variables: Keras would save functions that nobody calls
    served.weights = model.weights
    served.query = tf.function(lambda *history: model.signals(History(*history)).query, input_signature=spec)
    tf.saved_model.save(served, str(tmp_path))
    assert b"XlaMustCompile" not in (tmp_path / "saved_model.pb").read_bytes()
    loaded, batch = tf.saved_model.load(str(tmp_path)), history()
    np.testing.assert_allclose(loaded.query(*batch), model.signals(batch).query, atol=1e-6)
