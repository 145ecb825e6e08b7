"""A recurrent layer that trains fast on a CPU: one input product for all steps, hand-written gradient.

The behaviour model runs on it. Keras' own LSTM multiplies its input inside the loop and adds up the
gradient of its recurrent kernel at every step; here both are one large product outside the loop.
"""

import tensorflow as tf


class LSTM(tf.keras.layers.Layer):
    """Long short-term memory with a learned start state (Hochreiter and Schmidhuber, 1997).

    Args:
      units: H, width of the state.
    """

    def __init__(self, units: int, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        """Makes the kernels [I, 4H] and [H, 4H], the bias [4H] and the start state [2, H]."""
        width = 4 * self.units
        self.kernel = self.add_weight("kernel", (int(input_shape[-1]), width), initializer="glorot_uniform")
        self.recurrent_kernel = self.add_weight("recurrent_kernel", (self.units, width), initializer="orthogonal")
        self.bias = self.add_weight("bias", (width,), initializer=_open_forget_gates)
        self.start = self.add_weight("start", (2, self.units), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs):
        """Runs over the steps; padding belongs at the end, where it changes no earlier state.

        Args:
          inputs: [B, T, I].

        Returns:
          [B, T+1, H] float32: position t is the state after t steps, so position 0 is the learned start. State and
          cell are float32 under mixed precision too; only the matrix products are not.
        """
        inputs = tf.cast(inputs, self.compute_dtype)
        batch = tf.shape(inputs)[0]
        by_time = tf.transpose(inputs, (1, 0, 2))  # [T, B, I]
        gates = tf.cast(tf.tensordot(by_time, self.kernel, 1) + self.bias, tf.float32)  # [T, B, 4H]
        gates = tf.ensure_shape(gates, (inputs.shape[1], inputs.shape[0], 4 * self.units))
        start = tf.tile(tf.cast(self.start, tf.float32)[:, None, :], (1, batch, 1))  # [2, B, H]
        states = scan(gates, tf.convert_to_tensor(self.recurrent_kernel), start[0], start[1])  # [T, B, H]
        return tf.transpose(tf.concat([start[:1], states], axis=0), (1, 0, 2))

    def get_config(self):
        """Arguments of the constructor."""
        return {**super().get_config(), "units": self.units}


def _open_forget_gates(shape, dtype=None):
    """Zeros, and ones for the forget gates, the second quarter."""
    quarter = shape[0] // 4
    return tf.concat([tf.zeros(quarter, dtype), tf.ones(quarter, dtype), tf.zeros(2 * quarter, dtype)], axis=0)


@tf.custom_gradient
def scan(gates, recurrent, h, c):
    """The recurrent part over all steps, with its gradient in one pass backwards.

    Args:
      gates: [T, B, 4H] float32 input part before activation: input, forget, output gate, cell.
      recurrent: [H, 4H] kernel of the previous state; its type is that of the matrix products.
      h: [B, H] state before the first step.
      c: [B, H] cell before the first step.

    Returns:
      [T, B, H] states.
    """
    states, cells, activations = _forward(gates, recurrent, h, c)

    def gradient(upstream):
        d_gates, d_h, d_c = _backward(upstream, recurrent, c, cells, activations)
        before = tf.concat([h[None], states[:-1]], axis=0)  # [T, B, H]
        width = tf.shape(before)[-1]
        before = tf.cast(tf.reshape(before, (-1, width)), recurrent.dtype)
        after = tf.cast(tf.reshape(d_gates, (-1, 4 * width)), recurrent.dtype)
        return d_gates, tf.matmul(before, after, transpose_a=True), d_h, d_c

    return states, gradient


def _product(a: tf.Tensor, b: tf.Tensor, transpose_b: bool = False) -> tf.Tensor:
    """a b in the precision of b, as the type of a."""
    return tf.cast(tf.matmul(tf.cast(a, b.dtype), b, transpose_b=transpose_b), a.dtype)


def _array(like: tf.Tensor, width: int) -> tf.TensorArray:
    return tf.TensorArray(like.dtype, size=tf.shape(like)[0], element_shape=(like.shape[1], width))


def _forward(gates, recurrent, h, c):
    """States, cells [T, B, H] and activated gates [T, B, 4H]."""
    units = recurrent.shape[0]
    inputs = _array(gates, 4 * units).unstack(gates)

    def step(t, h, c, states, cells, activations):
        a = inputs.read(t) + _product(h, recurrent)  # [B, 4H]
        sigmoids = tf.sigmoid(a[:, : 3 * units])
        i, f, o = tf.split(sigmoids, 3, axis=1)
        g = tf.tanh(a[:, 3 * units :])
        c = f * c + i * g  # [B, H]
        h = o * tf.tanh(c)
        activated = tf.concat([sigmoids, g], axis=1)
        return t + 1, h, c, states.write(t, h), cells.write(t, c), activations.write(t, activated)

    state = (0, h, c, _array(gates, units), _array(gates, units), _array(gates, 4 * units))
    length = tf.shape(gates)[0]
    _, _, _, states, cells, activations = tf.while_loop(
        lambda t, *_: t < length, step, state, maximum_iterations=length, parallel_iterations=1
    )
    return states.stack(), cells.stack(), activations.stack()


def _backward(upstream, recurrent, start_c, cells, activations):
    """Gradients of the gates [T, B, 4H], of h and of c [B, H] before the first step."""
    units, length = recurrent.shape[0], tf.shape(cells)[0]
    upstreams = _array(upstream, units).unstack(upstream)
    before = _array(cells, units).unstack(tf.concat([start_c[None], cells[:-1]], axis=0))
    squashed = _array(cells, units).unstack(tf.tanh(cells))
    activated = _array(cells, 4 * units).unstack(activations)

    def step(k, d_h, d_c, d_gates):
        t = length - 1 - k
        i, f, o, g = tf.split(activated.read(t), 4, axis=1)
        d_h, tanh_c = d_h + upstreams.read(t), squashed.read(t)
        d_c = d_c + d_h * o * (1 - tanh_c * tanh_c)
        d_i, d_f, d_o = d_c * g * i * (1 - i), d_c * before.read(t) * f * (1 - f), d_h * tanh_c * o * (1 - o)
        d_a = tf.concat([d_i, d_f, d_o, d_c * i * (1 - g * g)], axis=1)  # [B, 4H]
        return k + 1, _product(d_a, recurrent, transpose_b=True), d_c * f, d_gates.write(t, d_a)

    zero = tf.zeros_like(start_c)
    _, d_h, d_c, d_gates = tf.while_loop(
        lambda k, *_: k < length,
        step,
        (0, zero, zero, _array(cells, 4 * units)),
        maximum_iterations=length,
        parallel_iterations=1,
    )
    return d_gates.stack(), d_h, d_c
