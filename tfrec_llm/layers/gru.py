"""A gated recurrent unit that trains fast on a CPU, made like `layers.lstm`: one input product, hand-written gradient.

The behaviour model `gru` runs on it.
"""

import tensorflow as tf

from tfrec_llm.layers.noise import QUIET
from tfrec_llm.layers.recurrence import array, kernel_gradient, loop, masked, product, state_mask

_SITE = 411  # of the noise


class GRU(tf.keras.layers.Layer):
    """Gated recurrent unit with a learned start state (Cho et al., 2014).

    The reset gate acts after the recurrent product, as in cuDNN, so that one product serves all three gates.

    Args:
      units: H, width of the state.
      state_dropout: share of the state that the gates do not see in training, one mask for all steps of a sequence.
    """

    def __init__(self, units: int, state_dropout: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.units, self.state_dropout = units, state_dropout

    def build(self, input_shape):
        """Makes the kernels [I, 3H] and [H, 3H], the biases [3H] and, inside the reset, [H], and the start [1, H]."""
        width = 3 * self.units
        self.kernel = self.add_weight("kernel", (int(input_shape[-1]), width), initializer="glorot_uniform")
        self.recurrent_kernel = self.add_weight("recurrent_kernel", (self.units, width), initializer="orthogonal")
        self.bias = self.add_weight("bias", (width,), initializer="zeros")
        self.inner_bias = self.add_weight("inner_bias", (self.units,), initializer="zeros")
        self.start = self.add_weight("start", (1, self.units), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs, noise=QUIET):
        """Runs over the steps; padding belongs at the end, where it changes no earlier state.

        Args:
          inputs: [B, T, I].
          noise: draws the mask of the state.

        Returns:
          [B, T+1, H] float32: position t is the state after t steps, so position 0 is the learned start. The state
          is float32 under mixed precision too; only the matrix products are not.
        """
        inputs = tf.cast(inputs, self.compute_dtype)
        batch = tf.shape(inputs)[0]
        by_time = tf.transpose(inputs, (1, 0, 2))  # [T, B, I]
        gates = tf.cast(tf.tensordot(by_time, self.kernel, 1) + self.bias, tf.float32)  # [T, B, 3H]
        gates = tf.ensure_shape(gates, (inputs.shape[1], inputs.shape[0], 3 * self.units))
        start = tf.tile(tf.cast(self.start, tf.float32), (batch, 1))  # [B, H]
        mask = state_mask(noise, batch, self.units, self.state_dropout, _SITE)
        recurrent, inner = tf.convert_to_tensor(self.recurrent_kernel), tf.cast(self.inner_bias, tf.float32)
        states = scan(gates, recurrent, inner, start, mask)  # [T, B, H]
        return tf.transpose(tf.concat([start[None], states], axis=0), (1, 0, 2))

    def get_config(self):
        """Arguments of the constructor."""
        return {**super().get_config(), "units": self.units, "state_dropout": self.state_dropout}


def scan(gates, recurrent, inner, h, mask=None):
    """The recurrent part over all steps, with its gradient in one pass backwards.

    Args:
      gates: [T, B, 3H] float32 input part before activation: update gate, reset gate, candidate.
      recurrent: [H, 3H] kernel of the previous state; its type is that of the matrix products.
      inner: [H] float32 bias of the candidate's recurrent part.
      h: [B, H] state before the first step.
      mask: [B, H] that the state is multiplied with before the kernel, or None; it gets no gradient.

    Returns:
      [T, B, H] states.
    """

    @tf.custom_gradient
    def run(gates, recurrent, inner, h):
        states, sums = _forward(gates, recurrent, inner, h, mask)

        def gradient(upstream):
            earlier = tf.concat([h[None], states[:-1]], axis=0)  # [T, B, H]
            by_update, by_reset, by_candidate, keep, reset = _slopes(gates, sums, earlier)
            slopes = tf.concat([by_update, by_reset, by_candidate * reset], axis=-1)  # [T, B, 3H]
            d_states, d_h = _backward(upstream, recurrent, slopes, keep, mask)
            d_sums = tf.tile(d_states, (1, 1, 3)) * slopes
            d_gates = tf.concat([d_states * by_update, d_states * by_reset, d_states * by_candidate], axis=-1)
            d_inner = tf.reduce_sum(d_sums[..., 2 * recurrent.shape[0] :], axis=(0, 1))
            return d_gates, kernel_gradient(masked(earlier, mask), d_sums, recurrent.dtype), d_inner, d_h

        return states, gradient

    return run(gates, recurrent, inner, h)


def _forward(gates, recurrent, inner, h, mask):
    """States [T, B, H], and the recurrent part of the gates [T, B, 3H]."""
    units = recurrent.shape[0]
    bias = tf.pad(inner, [[2 * units, 0]])  # [3H]

    def step(t, h, states, sums):
        a = product(masked(h, mask), recurrent) + bias  # [B, 3H]
        update, _, candidate = _activate(gates[t], a)
        h = candidate + update * (h - candidate)  # [B, H]
        return t + 1, h, states.write(t, h), sums.write(t, a)

    _, _, states, sums = loop(step, (0, h, array(gates, units), array(gates, 3 * units)), tf.shape(gates)[0])
    return states.stack(), sums.stack()


def _slopes(gates, sums, before):
    """What the way back multiplies the gradient of a state by, for all steps at once.

    Returns:
      Slopes of the state by the gates before activation (update, reset, candidate) and, past the gates, by the state
      before; and the reset gate; [T, B, H] each.
    """
    update, reset, candidate = _activate(gates, sums)
    inside = (1 - update) * (1 - candidate * candidate)  # by the candidate before activation
    recurrent = sums[..., 2 * before.shape[-1] :]
    return (before - candidate) * update * (1 - update), inside * recurrent * reset * (1 - reset), inside, update, reset


def _backward(upstream, recurrent, slopes, keep, mask):
    """Gradients of the states [T, B, H], all that comes after them included, and of h [B, H]."""
    length, units = tf.shape(upstream)[0], recurrent.shape[0]
    backwards = tf.transpose(recurrent)  # once, as in `layers.lstm`

    def step(k, d_h, d_states):
        t = length - 1 - k
        d_h = d_h + upstream[t]
        d_a = slopes[t] * tf.tile(d_h, (1, 3))  # [B, 3H]
        return k + 1, masked(product(d_a, backwards), mask) + d_h * keep[t], d_states.write(t, d_h)

    _, d_h, d_states = loop(step, (0, tf.zeros(tf.shape(upstream)[1:], upstream.dtype), array(upstream, units)), length)
    return d_states.stack(), d_h


def _activate(gates, sums):
    """Update gate, reset gate and candidate [..., H] from input and recurrent part [..., 3H]."""
    (u, r, n), (hu, hr, hn) = tf.split(gates, 3, axis=-1), tf.split(sums, 3, axis=-1)
    reset = tf.sigmoid(r + hr)
    return tf.sigmoid(u + hu), reset, tf.tanh(n + reset * hn)
