"""The GRU against Keras' own; what all bodies promise is in `test_bodies`."""

import numpy as np
import tensorflow as tf

from tfrec_llm.layers import GRU
from tfrec_llm.layers.noise import Noise

H, I = 4, 3  # noqa: E741
INPUTS = np.random.default_rng(0).normal(size=(2, 5, I)).astype(np.float32)


def loss_and_gradients(layer, inputs, weights):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        states = layer(inputs)[:, -INPUTS.shape[1] :]
        loss = tf.reduce_sum(tf.sin(states) * tf.range(1.0, 6.0)[:, None])
    return loss, *tape.gradient(loss, [inputs, *weights])


def test_states_and_gradients_equal_keras():
    ours, keras = GRU(H), tf.keras.layers.GRU(H, return_sequences=True, reset_after=True)
    ours(INPUTS), keras(INPUTS)
    ours.bias.assign(np.linspace(-1, 1, 3 * H))
    ours.inner_bias.assign(np.linspace(0.5, -0.5, H))
    inner = np.concatenate([np.zeros(2 * H), ours.inner_bias.numpy()])
    keras.set_weights([ours.kernel.numpy(), ours.recurrent_kernel.numpy(), np.stack([ours.bias.numpy(), inner])])
    inputs = tf.constant(INPUTS)
    got = loss_and_gradients(ours, inputs, [ours.kernel, ours.recurrent_kernel, ours.bias, ours.inner_bias])
    expected = loss_and_gradients(keras, inputs, keras.trainable_variables)
    for a, b in zip(got[:4], expected[:4], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    np.testing.assert_allclose(got[4], expected[4][0], atol=1e-5)
    np.testing.assert_allclose(got[5], expected[4][1, 2 * H :], atol=1e-5)


def test_the_mask_of_the_state_is_the_same_at_every_step():
    """A kernel of ones shows what is left of the state: with inputs of zero the candidate is tanh of the kept sum."""
    layer = GRU(H, state_dropout=0.5)
    layer(INPUTS)
    layer.set_weights([np.zeros(w.shape) for w in layer.get_weights()])
    layer.start.assign(np.full((1, H), 0.25))
    layer.bias.assign(np.repeat([-9.0, 9.0, 0.0], H))  # take the candidate, reset nothing
    layer.recurrent_kernel.assign(np.concatenate([np.zeros((H, 2 * H)), np.eye(H)], axis=1))
    states = layer(np.zeros((64, 6, I), np.float32), Noise(1, tf.constant(0))).numpy()
    kept = states[:, 1] > 0.1
    assert 0.4 < kept.mean() < 0.6
    np.testing.assert_array_equal(states[:, 6] > 0.1, kept)  # kept ones grow (twice the state), the others are gone


def test_the_first_state_is_the_start():
    layer = GRU(H)
    layer(INPUTS)
    layer.start.assign(tf.random.stateless_normal((1, H), (1, 2)))
    np.testing.assert_array_equal(layer(INPUTS)[:, 0], np.tile(layer.start, (2, 1)))
