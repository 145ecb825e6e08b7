"""The LSTM against Keras' own; what all bodies promise is in `test_bodies`."""

import numpy as np
import tensorflow as tf

from tfrec_llm.layers import LSTM

H, I = 4, 3  # noqa: E741
INPUTS = np.random.default_rng(0).normal(size=(2, 5, I)).astype(np.float32)
KERAS_ORDER = np.concatenate([np.arange(2 * H), np.arange(3 * H, 4 * H), np.arange(2 * H, 3 * H)])


def pair():
    """Ours, and Keras' with the same weights; its gates come in another order."""
    ours, keras = LSTM(H), tf.keras.layers.LSTM(H, return_sequences=True)
    ours(INPUTS), keras(INPUTS)
    keras.set_weights([w.numpy()[..., KERAS_ORDER] for w in (ours.kernel, ours.recurrent_kernel, ours.bias)])
    return ours, keras


def loss_and_gradients(layer, inputs, weights):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        states = layer(inputs)[:, -INPUTS.shape[1] :]
        loss = tf.reduce_sum(tf.sin(states) * tf.range(1.0, 6.0)[:, None])
    return loss, *tape.gradient(loss, [inputs, *weights])


def test_states_and_gradients_equal_keras():
    ours, keras = pair()
    inputs = tf.constant(INPUTS)
    got = loss_and_gradients(ours, inputs, [ours.kernel, ours.recurrent_kernel, ours.bias])
    expected = loss_and_gradients(keras, inputs, keras.trainable_variables)
    for a, b in zip(got[:2], expected[:2], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    for a, b in zip(got[2:], expected[2:], strict=True):
        np.testing.assert_allclose(a.numpy()[..., KERAS_ORDER], b, atol=1e-5)


def test_gradient_of_the_start_state_by_differences():
    layer = LSTM(H)
    layer(INPUTS)
    layer.start.assign(tf.random.stateless_normal((2, H), (1, 2)))
    weigh = tf.random.stateless_normal((2, 6, H), (3, 4))

    def loss():
        return tf.reduce_sum(layer(INPUTS) * weigh)

    with tf.GradientTape() as tape:
        value = loss()
    gradient = tape.gradient(value, layer.start).numpy()
    start = layer.start.numpy()
    for place in ((0, 1), (1, 2)):
        moved = start.copy()
        moved[place] += 1e-2
        layer.start.assign(moved)
        above = loss()
        moved[place] -= 2e-2
        layer.start.assign(moved)
        np.testing.assert_allclose((above - loss()) / 2e-2, gradient[place], atol=1e-3)


def test_the_first_state_is_the_start():
    layer = LSTM(H)
    layer(INPUTS)
    layer.start.assign(tf.random.stateless_normal((2, H), (1, 2)))
    np.testing.assert_array_equal(layer(INPUTS)[:, 0], np.tile(layer.start[0], (2, 1)))
