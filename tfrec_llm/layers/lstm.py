"""A recurrent layer that trains fast on a CPU: one input product for all steps, hand-written gradient.

The behaviour model runs on it. Keras' own LSTM multiplies its input inside the loop and adds up the
gradient of its recurrent kernel at every step; here both are one large product outside the loop.
"""

import tensorflow as tf

from tfrec_llm.layers.noise import QUIET
from tfrec_llm.layers.recurrence import array, kernel_gradient, loop, masked, product, state_mask

_SITE = 401  # of the noise


class LSTM(tf.keras.layers.Layer):
    """Long short-term memory with a learned start state (Hochreiter and Schmidhuber, 1997).

    Args:
      units: H, width of the state.
      state_dropout: share of the state that the gates do not see in training, one mask for all steps of a sequence.
    """

    def __init__(self, units: int, state_dropout: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.units, self.state_dropout = units, state_dropout

    def build(self, input_shape):
        """Makes the kernels [I, 4H] and [H, 4H], the bias [4H] and the start state [2, H]."""
        width = 4 * self.units
        self.kernel = self.add_weight("kernel", (int(input_shape[-1]), width), initializer="glorot_uniform")
        self.recurrent_kernel = self.add_weight("recurrent_kernel", (self.units, width), initializer="orthogonal")
        self.bias = self.add_weight("bias", (width,), initializer=_open_forget_gates)
        self.start = self.add_weight("start", (2, self.units), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs, noise=QUIET):
        """Runs over the steps; padding belongs at the end, where it changes no earlier state.

        Args:
          inputs: [B, T, I].
          noise: draws the mask of the state.

        Returns:
          [B, T+1, H] float32: position t is the state after t steps, so position 0 is the learned start. State and
          cell are float32 under mixed precision too; only the matrix products are not.
        """
        inputs = tf.cast(inputs, self.compute_dtype)
        batch = tf.shape(inputs)[0]
        gates = self.input_part(tf.transpose(inputs, (1, 0, 2)))  # [T, B, 4H]
        gates = tf.ensure_shape(gates, (inputs.shape[1], inputs.shape[0], 4 * self.units))
        start = tf.tile(tf.cast(self.start, tf.float32)[:, None, :], (1, batch, 1))  # [2, B, H]
        mask = state_mask(noise, batch, self.units, self.state_dropout, _SITE)
        states = scan(gates, tf.convert_to_tensor(self.recurrent_kernel), start[0], start[1], mask)  # [T, B, H]
        return tf.transpose(tf.concat([start[:1], states], axis=0), (1, 0, 2))

    def input_part(self, inputs):
        """[..., I] inputs -> [..., 4H] float32, what they add to the gates before activation."""
        kernel, bias = tf.cast(self.kernel, inputs.dtype), tf.cast(self.bias, inputs.dtype)
        return tf.cast(tf.tensordot(inputs, kernel, 1) + bias, tf.float32)

    def get_config(self):
        """Arguments of the constructor."""
        return {**super().get_config(), "units": self.units, "state_dropout": self.state_dropout}


def _open_forget_gates(shape, dtype=None):
    """Zeros, and ones for the forget gates, the second quarter."""
    quarter = shape[0] // 4
    return tf.concat([tf.zeros(quarter, dtype), tf.ones(quarter, dtype), tf.zeros(2 * quarter, dtype)], axis=0)


def scan(gates, recurrent, h, c, mask=None):
    """The recurrent part over all steps, with its gradient in one pass backwards.

    Args:
      gates: [T, B, 4H] float32 input part before activation: input, forget, output gate, cell.
      recurrent: [H, 4H] kernel of the previous state; its type is that of the matrix products.
      h: [B, H] state before the first step.
      c: [B, H] cell before the first step.
      mask: [B, H] that the state is multiplied with before the kernel, or None; it gets no gradient.

    Returns:
      [T, B, H] states.
    """

    @tf.custom_gradient
    def run(gates, recurrent, h, c):
        states, cells, sums = _forward(gates, recurrent, h, c, mask)

        def gradient(upstream):
            before = tf.concat([c[None], cells[:-1]], axis=0)  # [T, B, H]
            d_gates, d_h, d_c = _backward(upstream, recurrent, *_slopes(sums, cells, before), mask)
            earlier = masked(tf.concat([h[None], states[:-1]], axis=0), mask)  # [T, B, H]
            return d_gates, kernel_gradient(earlier, d_gates, recurrent.dtype), d_h, d_c

        return states, gradient

    return run(gates, recurrent, h, c)


def _forward(gates, recurrent, h, c, mask):
    """States and cells [T, B, H], and the gates before activation [T, B, 4H]."""
    units = recurrent.shape[0]

    def step(t, h, c, states, cells, sums):
        a = gates[t] + product(masked(h, mask), recurrent)  # [B, 4H]
        i, f, o, g = activate(a, units)
        c = f * c + i * g  # [B, H]
        h = o * tf.tanh(c)
        return t + 1, h, c, states.write(t, h), cells.write(t, c), sums.write(t, a)

    state = (0, h, c, array(gates, units), array(gates, units), array(gates, 4 * units))
    _, _, _, states, cells, sums = loop(step, state, tf.shape(gates)[0])
    return states.stack(), cells.stack(), sums.stack()


def _slopes(sums, cells, before):
    """What the way back multiplies by, for all steps at once.

    Returns:
      of the gates' sums [T, B, 4H] by (cell, cell, state, cell), of the cell by the state and by the next cell
      [T, B, H].
    """
    i, f, o, g = activate(sums, cells.shape[-1])
    squashed = tf.tanh(cells)
    gates = [g * i * (1 - i), before * f * (1 - f), squashed * o * (1 - o), i * (1 - g * g)]
    return tf.concat(gates, axis=-1), o * (1 - squashed * squashed), f


def _backward(upstream, recurrent, by_gates, by_state, by_cell, mask):
    """Gradients of the gates' sums [T, B, 4H], of h and of c [B, H] before the first step."""
    length, units = tf.shape(upstream)[0], recurrent.shape[0]
    backwards = tf.transpose(recurrent)  # once, not by `transpose_b` in each product: three times as fast on a CPU

    def step(k, d_h, d_c, d_gates):
        t = length - 1 - k
        d_h = d_h + upstream[t]
        d_c = d_c + d_h * by_state[t]
        d_a = by_gates[t] * tf.concat([d_c, d_c, d_h, d_c], axis=1)  # [B, 4H]
        return k + 1, masked(product(d_a, backwards), mask), d_c * by_cell[t], d_gates.write(t, d_a)

    zero = tf.zeros(tf.shape(upstream)[1:], upstream.dtype)
    _, d_h, d_c, d_gates = loop(step, (0, zero, zero, array(upstream, 4 * units)), length)
    return d_gates.stack(), d_h, d_c


def activate(sums, units):
    """Input, forget and output gate and cell candidate [..., H] from their sums [..., 4H]."""
    i, f, o = tf.split(tf.sigmoid(sums[..., : 3 * units]), 3, axis=-1)
    return i, f, o, tf.tanh(sums[..., 3 * units :])
