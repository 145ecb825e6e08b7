"""What the three layers that read steps promise alike: LSTM, GRU, causal attention."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.layers import GRU, LSTM, CausalAttention
from tfrec_llm.layers.noise import QUIET, Noise
from tfrec_llm.training import load_weights, save_weights

H, I = 4, 3  # noqa: E741
INPUTS = np.random.default_rng(0).normal(size=(2, 5, I)).astype(np.float32)
NOISE = Noise(3, tf.constant(5))


def lstm(**kwargs):
    return LSTM(H, state_dropout=0.5, **kwargs)


def gru(**kwargs):
    return GRU(H, state_dropout=0.5, **kwargs)


def attention(**kwargs):
    return CausalAttention(H, blocks=2, heads=2, widening=3, distances=4, dropout=0.5, **kwargs)


def built(make, **kwargs):
    """A layer with random weights all over."""
    layer = make(**kwargs)
    layer(INPUTS)
    generator = np.random.default_rng(1)
    layer.set_weights([generator.normal(scale=0.5, size=w.shape) for w in layer.get_weights()])
    return layer


@pytest.fixture(params=[lstm, gru, attention])
def make(request):
    return request.param


def loss_and_gradients(layer, inputs, noise):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        weigh = tf.range(1.0, tf.cast(tf.shape(inputs)[1], tf.float32) + 2)[:, None]
        loss = tf.reduce_sum(tf.sin(layer(inputs, noise)) * weigh)
    return loss, *map(tf.convert_to_tensor, tape.gradient(loss, [inputs, *layer.trainable_weights]))


def test_one_state_more_than_steps_and_padding_changes_nothing_before_it(make):
    layer = built(make)
    states = layer(INPUTS).numpy()
    assert states.shape == (2, 6, H)
    np.testing.assert_array_equal(states[0, 0], states[1, 0])  # nothing read yet
    padded = layer(np.pad(INPUTS, ((0, 0), (0, 3), (0, 0)))).numpy()
    np.testing.assert_allclose(padded[:, :6], states, atol=1e-5)
    assert layer(INPUTS[:, :0]).shape == (2, 1, H)


def test_a_state_depends_on_every_step_before_it_and_on_no_other(make):
    layer = built(make)
    moved = INPUTS.copy()
    moved[:, 2] += 1
    changed = np.abs(layer(moved).numpy() - layer(INPUTS).numpy()).max(axis=(0, 2)) > 1e-6
    assert changed.tolist() == [False] * 3 + [True] * 3


STEP = 2e-4  # short enough that few units of a ReLU switch on the way, long enough for float32


@pytest.mark.parametrize("training", [False, True])
def test_gradients_by_differences(make, training):
    layer, noise = built(make), NOISE if training else QUIET
    _, *gradients = loss_and_gradients(layer, tf.constant(INPUTS), noise)
    generator = np.random.default_rng(2)
    for weight, gradient in zip(layer.trainable_weights, gradients[1:], strict=True):
        value, way = weight.numpy(), generator.normal(size=weight.shape).astype(np.float32)
        ends = []
        for sign in (1, -1):
            weight.assign(value + sign * STEP * way)
            ends.append(float(loss_and_gradients(layer, tf.constant(INPUTS), noise)[0]))
        weight.assign(value)
        expected = (ends[0] - ends[1]) / (2 * STEP)
        assert float(tf.reduce_sum(gradient * way)) == pytest.approx(expected, rel=0.02, abs=0.03), weight.name


def test_dropout_is_in_training_alone_and_the_same_for_equal_noise(make):
    layer = built(make)
    noisy, same, other = (layer(INPUTS, Noise(3, tf.constant(step))).numpy() for step in (5, 5, 6))
    np.testing.assert_array_equal(noisy, same)
    assert not np.allclose(noisy, other)
    assert not np.allclose(noisy, layer(INPUTS))


def test_xla_gives_the_same_loss_and_gradients(make):
    layer = built(make)
    spec = [tf.TensorSpec((None, None, I))]
    compiled = tf.function(lambda x: loss_and_gradients(layer, x, QUIET), input_signature=spec, jit_compile=True)
    inputs = tf.constant(INPUTS)
    for got, expected in zip(compiled(inputs), loss_and_gradients(layer, inputs, QUIET), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-4)


def test_config_round_trip(make):
    layer = make(name="memory")
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


def test_save_and_load(make, tmp_path):
    first, second = built(make), make()
    second(INPUTS)
    save_weights(first, tmp_path / "body.npz")
    load_weights(second, tmp_path / "body.npz")
    np.testing.assert_array_equal(first(INPUTS), second(INPUTS))


def test_bfloat16_stays_close(make):
    layer, half = built(make), make(dtype="mixed_bfloat16")
    half(INPUTS)
    half.set_weights(layer.get_weights())
    assert half(INPUTS).dtype == tf.float32
    np.testing.assert_allclose(half(INPUTS), layer(INPUTS), atol=0.1)
