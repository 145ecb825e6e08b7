"""What every behaviour model promises to training, serving and XLA; a new one inherits these tests."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.behaviour.worlds import chain, cut, dataset_of, history
from tfrec_llm.behaviour import MODELS
from tfrec_llm.config import Behaviour, Component, Config, ConfigError, choose
from tfrec_llm.training import load_weights, save_weights
from tfrec_llm.types import History, ItemVectors

ITEMS, EVENTS, UNITS, DIM = 9, 2, 6, 4
TEXT = np.random.default_rng(1).normal(size=(ITEMS + 2, 5)).astype(np.float32)
VECTORS = ItemVectors(TEXT, None, None, None, np.ones((ITEMS + 2, 1), bool))
DROPOUTS = (
    "dropout",
    "item_dropout",
    "side_dropout",
    "time_dropout",
    "id_dropout",
    "embedding_dropout",
    "state_dropout",
    "block_dropout",
)


@pytest.fixture(params=sorted(MODELS))
def name(request):
    return request.param


def make(name, basket=False, sampled=0, fixed_steps=False, dropout=None):
    """A small model with random weights all over; `dropout` is put into all its dropouts."""
    known = {f.name for f in dataclasses.fields(MODELS[name][0])}
    chosen = {} if dropout is None else {key: dropout for key in DROPOUTS if key in known}
    own, builder = choose(MODELS, Component(name, {"units": UNITS, "dim": DIM, "side_dim": 2, **chosen}), "model")
    behaviour = Behaviour(full_softmax_max_items=1 if sampled else 20_000, num_sampled=sampled or 1)
    dataset = dataset_of(chain(20, 8, ITEMS), ITEMS, "basket" if basket else "event")
    tf.keras.utils.set_random_seed(3)
    model = builder(own, Config(behaviour=behaviour), dataset, VECTORS, fixed_steps=fixed_steps)
    for number, weight in enumerate(model.body.trainable_weights):
        weight.assign_add(0.3 * tf.random.stateless_normal(weight.shape, (number, 1)))
    return model


def close(got, expected, atol=2e-5):
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=atol)


def losses(model, steps=30, xla=False, batch=None):
    """Losses of some training steps on one batch."""
    model.compile(optimizer=tf.keras.optimizers.Adam(0.01), jit_compile=xla)
    step = model.make_train_function()
    batches = iter(tf.data.Dataset.from_tensors(history() if batch is None else batch).repeat())
    return [float(step(batches)["loss"]) for _ in range(steps)]


@pytest.mark.parametrize("basket", [False, True])
def test_shapes_and_types(name, basket):
    model = make(name, basket)
    signals = model.signals(history())
    assert [x.shape.as_list() for x in signals] == [[4, DIM + 1], [4, UNITS], [4, EVENTS], [4]]
    assert all(x.dtype == tf.float32 for x in signals)
    assert model.item_table().shape == (ITEMS + 2, DIM + 1)


def test_query_times_item_table_is_the_logit_of_the_training(name):
    """The training loss, computed again from what serving gets: each prefix's query against the item table."""
    model, whole = make(name), history(lengths=[6] * 4)
    expected = []
    for length in range(6):
        logits = tf.matmul(model.signals(cut(whole, length)).query, model.item_table(), transpose_b=True)[:, 2:]
        expected.append(tf.nn.sparse_softmax_cross_entropy_with_logits(whole.item[:, length] - 2, logits))
    np.testing.assert_allclose(model.loss_of(whole)["item"], np.mean(expected), rtol=1e-5)


@pytest.mark.parametrize("basket", [False, True])
def test_a_row_depends_neither_on_padding_nor_on_others(name, basket):
    model, batch = make(name, basket), history(rows=5, length=8)
    together = model.signals(batch)
    close(model.signals(History(*(tf.pad(x, [[0, 0], [0, 5]]) for x in batch))), together)
    for row in range(5):
        length = int(tf.reduce_sum(tf.cast(batch.item[row] > 0, tf.int32)))
        alone = model.signals(History(*(x[row : row + 1, :length] for x in batch)))
        close([x[0] for x in alone], [x[row] for x in together])


@pytest.mark.parametrize("basket", [False, True])
@pytest.mark.parametrize("length", [0, 1, 4])
def test_an_empty_history_is_answered_alike_whatever_its_width(name, basket, length):
    model = make(name, basket)
    close(model.signals(history(rows=2, length=length, lengths=[0, 0])), model.signals(history(2, 2, lengths=[0, 0])))


def test_what_serving_may_lack_is_no_error(name):
    item, model = tf.constant([[2, 1, 5]]), make(name)  # an unknown item, no event types, no times
    missing = [model.signals(History(item, tf.fill((1, 3), e), tf.zeros((1, 3), tf.int64))) for e in (0, 1)]
    assert all(np.isfinite(x).all() for signals in missing for x in signals)
    np.testing.assert_array_equal(missing[0].query, missing[1].query)  # padding's number and unknown's mean the same


def test_times_that_are_all_equal_are_no_error(name):
    for basket in (False, True):
        batch = history()
        flat = batch._replace(time=tf.where(batch.item > 0, tf.constant(77, tf.int64), 0))
        model = make(name, basket)
        assert all(np.isfinite(x).all() for x in model.signals(flat))
        assert np.isfinite(model.loss_of(flat)["loss"])


def test_a_longer_history_than_any_before_is_answered(name):
    long = history(rows=2, length=300, lengths=[300, 280])
    assert all(np.isfinite(x).all() for x in make(name).signals(long))


@pytest.mark.parametrize("basket", [False, True])
@pytest.mark.parametrize("sampled", [0, 6])
def test_a_few_steps_lower_the_loss(name, basket, sampled):
    got = losses(make(name, basket, sampled, dropout=0.0))
    assert np.mean(got[-5:]) < 0.9 * np.mean(got[:5])


def test_every_dropout_at_once_still_learns(name):
    got = losses(make(name, dropout=0.2), steps=60)
    assert np.mean(got[-20:]) < np.mean(got[:20])


def test_dropout_is_the_same_after_a_restart(name):
    assert losses(make(name, dropout=0.3), steps=2) == losses(make(name, dropout=0.3), steps=2)


def test_training_steps_are_the_same_under_xla(name):
    plain, compiled = (losses(make(name, True, 0, xla, dropout=0.0), 3, xla) for xla in (False, True))
    np.testing.assert_allclose(compiled, plain, atol=1e-4)


def test_what_is_saved_is_what_is_loaded(name, tmp_path):
    first, second = make(name), make(name)
    losses(first, steps=2)
    save_weights(first, tmp_path / "weights.npz")
    load_weights(second, tmp_path / "weights.npz")
    close(second.signals(history()), first.signals(history()), 0)


def test_signals_in_a_saved_model(name, tmp_path):
    model = make(name, basket=True)
    spec = [tf.TensorSpec((None, None), kind) for kind in (tf.int32, tf.int32, tf.int64)]

    served = tf.Module()  # of the model only the variables: Keras would save functions that nobody calls
    served.weights = model.weights
    served.query = tf.function(lambda *history: model.signals(History(*history)).query, input_signature=spec)
    tf.saved_model.save(served, str(tmp_path))
    assert b"XlaMustCompile" not in (tmp_path / "saved_model.pb").read_bytes()
    loaded, batch = tf.saved_model.load(str(tmp_path)), history()
    np.testing.assert_allclose(loaded.query(*batch), model.signals(batch).query, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_stays_close_and_trains(name, policy):
    before = tf.keras.mixed_precision.global_policy()
    plain = make(name).loss_of(history())["loss"]
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        model = make(name)
    finally:
        tf.keras.mixed_precision.set_global_policy(before)
    np.testing.assert_allclose(model.loss_of(history())["loss"], plain, rtol=0.03)
    assert all(x.dtype == tf.float32 for x in model.signals(history()))
    if policy == "mixed_bfloat16" or name == "lstm":  # a scaled loss compiles the same step again: once is enough
        assert np.isfinite(losses(model, steps=2)).all()


def test_heads_that_do_not_divide_the_units_are_refused():
    with pytest.raises(ConfigError, match="expected units to be a multiple of heads, got 6 and 4"):
        choose(MODELS, Component("sasrec", {"units": 6, "heads": 4}), "behaviour.model")
