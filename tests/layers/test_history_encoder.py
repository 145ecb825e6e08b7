"""layers.history_encoder: weights by hand, no look ahead, empty histories, baskets, Keras round trips."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.layers.history_encoder import HistoryEncoder
from tfrec_llm.training import load_weights, save_weights
from tfrec_llm.types import History

SETTINGS = {"dim": 5, "num_events": 4, "half_lives": (1.0, 6.0), "hidden": 7, "window": 9, "dropout": 0.3}


def history(item, time=None):
    item = np.asarray(item, np.int32)
    time = np.where(item > 0, np.arange(1, item.shape[1] + 1) * 1000, 0) if time is None else np.asarray(time)
    return History(tf.constant(item), tf.constant(np.where(item > 0, 2, 0), tf.int32), tf.constant(time, tf.int64))


def encode(layer, events, until, seed=0, training=False):
    vectors = np.random.default_rng(seed).normal(size=[50, layer.dim]).astype(np.float32)
    return layer(tf.gather(vectors, events.item), events, tf.constant(until, tf.int32), training=training)


def lively(**changes):
    """A layer whose weights all say something."""
    layer = HistoryEncoder(**SETTINGS | changes)
    encode(layer, history([[2]]), [[1]])
    rng = np.random.default_rng(1)
    for variable in layer.weights:
        variable.assign_add(rng.normal(size=variable.shape, scale=0.3))
    return layer


def plain(values, events, until, **settings):
    """The encoding of scalar items by one mean of half-life 1, nothing else."""
    layer = HistoryEncoder(1, 3, half_lives=(1.0,), hidden=2, **settings)
    values = tf.constant(values, tf.float32)[..., None]
    layer(values, events, tf.constant(until))
    layer._empty_weight.assign([-100.0])
    return layer(values, events, tf.constant(until)).numpy()[..., 0]


def test_weights_by_hand():
    # ages 1 and 0 weigh 1/2 and 1: (10 * 1/2 + 40) / (3/2) = 30; before step 1 only the first event counts
    np.testing.assert_allclose(plain([[10, 40]], history([[2, 3]]), [[2, 1]]), [[30, 10]], rtol=1e-5)


def test_a_basket_counts_as_the_mean_of_its_lines():
    # steps: {10, 20, 30}, {40}: mean 20 at age 1, 40 at age 0 -> (20 / 2 + 40) / (3/2)
    events = history([[2, 3, 4, 5]], [[7, 7, 7, 9]])
    np.testing.assert_allclose(plain([[10, 20, 30, 40]], events, [[2, 1]], basket=True), [[100 / 3, 20]], rtol=1e-5)


def test_padding_is_no_line_of_the_last_basket():
    item, time = np.array([[2, 3, 4, 5, 6]]), np.array([[7, 7, 9, 9, 9]])
    layer, end = lively(basket=True), [[2]]
    alone = encode(layer, history(item, time), end)
    padded = history(np.pad(item, [(0, 0), (0, 40)]), np.pad(time, [(0, 0), (0, 40)]))
    np.testing.assert_allclose(encode(layer, padded, end), alone, atol=1e-6)


def test_weights_that_grow_with_the_time_gone_by_stay_finite():
    layer = lively()
    layer._time_decay.assign([-9.0, -9.0])
    events = history([[2, 3, 4]], [[1, 2_000_000_000, 2_000_000_001]])
    assert np.isfinite(encode(layer, events, [[3, 1]])).all()


def test_float16_holds_what_many_heavy_events_sum_to():
    with_float16 = HistoryEncoder(**SETTINGS | {"window": 400, "dropout": 0.0}, dtype="mixed_float16")
    item = np.full([1, 300], 7)
    events, vectors = history(item), tf.fill([1, 300, 5], tf.constant(60.0, tf.float16))
    with_float16(vectors, events, tf.constant([[300]]))
    with_float16._importance.bias.assign([50.0, 50.0])  # each counts e to the 4th
    with_float16._decay.assign([-20.0, -20.0])
    means = with_float16(vectors, events, tf.constant([[300]]))
    np.testing.assert_allclose(means, np.full([1, 1, 5], 60.0), rtol=0.01)


def test_only_the_newest_events_are_read():
    np.testing.assert_allclose(plain([[10, 40, 70]], history([[2, 3, 4]]), [[3]], window=2), [[60]], rtol=1e-5)


def test_an_empty_history_is_a_learned_vector():
    layer = lively()
    empty = encode(layer, history(np.zeros([2, 3], np.int32)), [[0], [0]])
    assert np.isfinite(empty).all()
    assert float(tf.reduce_max(tf.abs(empty))) > 0
    np.testing.assert_allclose(empty[0], empty[1])
    np.testing.assert_allclose(empty, encode(layer, history(np.zeros([2, 1], np.int32)), [[0], [0]]), atol=1e-6)


def test_all_positions_at_once_equal_each_prefix_alone():
    layer, item = lively(), np.random.default_rng(2).integers(2, 50, [3, 8])
    together = encode(layer, history(item), np.tile(np.arange(9), [3, 1]))
    for length in range(9):
        prefix = np.where(np.arange(8) < length, item, 0)
        alone = encode(layer, history(prefix), np.full([3, 1], length))[:, 0]
        np.testing.assert_allclose(together[:, length], alone, atol=1e-5)


def test_a_row_alone_equals_the_row_in_a_batch():
    layer, item = lively(), np.random.default_rng(3).integers(2, 50, [4, 6])
    item[1, 3:] = 0
    together = encode(layer, history(item), [[6], [3], [6], [6]])
    alone = encode(layer, history(item[1:2, :3]), [[3]])
    np.testing.assert_allclose(together[1], alone[0], atol=1e-5)


def test_unknown_times_change_nothing():
    layer, item = lively(), np.array([[2, 3, 4]])
    first = encode(layer, history(item, [[0, 0, 0]]), [[3]])
    layer._time_decay.assign_add([5.0, -5.0])
    np.testing.assert_allclose(first, encode(layer, history(item, [[0, 0, 0]]), [[3]]), atol=1e-6)


def test_learns_inside_a_model_under_xla_as_without():
    layer, events = lively(), history(np.random.default_rng(4).integers(2, 50, [4, 6]))

    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(encode(layer, events, [[3, 6]] * 4) ** 2)
        return loss, tape.gradient(loss, [v for v in layer.trainable_variables if "embeddings" not in v.name])

    plain_loss, gradients = step()
    xla_loss, xla_gradients = tf.function(step, jit_compile=True)()
    assert all(float(tf.reduce_sum(tf.abs(g))) > 0 for g in gradients)
    np.testing.assert_allclose(plain_loss, xla_loss, rtol=1e-4)
    for a, b in zip(gradients, xla_gradients, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_dropout_only_in_training():
    layer, events = lively(), history([[2, 3]])
    np.testing.assert_array_equal(encode(layer, events, [[2]]), encode(layer, events, [[2]]))
    assert not np.allclose(encode(layer, events, [[2]], training=True), encode(layer, events, [[2]]))


def test_config_round_trip():
    layer = HistoryEncoder(**SETTINGS, basket=True, longest_wait=7, name="reader")
    again = HistoryEncoder.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert again.basket
    assert again.get_config()["longest_wait"] == 7
    assert again.half_lives == (1.0, 6.0)


def test_save_and_reload(tmp_path):
    layer, events = lively(), history([[2, 3, 4]])
    save_weights(layer, tmp_path / "weights.npz")
    again = HistoryEncoder(**SETTINGS)
    encode(again, events, [[3]])
    load_weights(again, tmp_path / "weights.npz")
    np.testing.assert_array_equal(encode(layer, events, [[3]]), encode(again, events, [[3]]))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float32"])
def test_weights_of_the_mean_stay_float32(policy):
    layer = HistoryEncoder(**SETTINGS, dtype=tf.keras.mixed_precision.Policy(policy))
    assert np.isfinite(np.asarray(tf.cast(encode(layer, history([[2, 3]]), [[2]]), tf.float32))).all()
    assert {layer._decay.dtype, layer._time_decay.dtype, layer._empty_weight.dtype} == {tf.float32}
