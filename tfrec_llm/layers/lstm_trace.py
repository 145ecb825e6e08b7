"""An LSTM that keeps what it passes through, so that histories that lack one step cost the steps after it alone.

For answering, not for training: there is no gradient and no dropout. The served behaviour model explains its answers
with it, as a history without its l-th newest event starts from the state before that event.
"""

from typing import NamedTuple

import tensorflow as tf

from tfrec_llm.layers.lstm import LSTM, activate
from tfrec_llm.layers.recurrence import array, loop, product


class Trace(NamedTuple):
    """One pass over the steps."""

    inputs: tf.Tensor  # [B, T, I]
    gates: tf.Tensor  # [B, T, 4H] float32, the inputs' part before activation
    states: tf.Tensor  # [B, T+1, H] float32, as `LSTM.call` gives them
    cells: tf.Tensor  # [B, T+1, H] float32


def trace(layer: LSTM, inputs: tf.Tensor) -> Trace:
    """Runs a built layer over the steps.

    Args:
      layer: of H units.
      inputs: [B, T, I].
    """
    inputs = tf.cast(inputs, layer.compute_dtype)
    gates, batch = layer.input_part(inputs), tf.shape(inputs)[0]
    by_time, recurrent = tf.transpose(gates, (1, 0, 2)), tf.cast(layer.recurrent_kernel, layer.compute_dtype)
    length, units = tf.shape(by_time)[0], layer.units
    start = tf.tile(tf.cast(layer.start, tf.float32)[:, None, :], (1, batch, 1))  # [2, B, H]

    def step(t, h, c, passed):
        h, c = advance(by_time[t] + product(h, recurrent), c)
        return t + 1, h, c, passed.write(t, tf.concat([h, c], axis=1))

    *_, passed = loop(step, (0, start[0], start[1], array(by_time, 2 * units)), length)
    passed = passed.stack()  # [T, B, 2H]
    passed = tf.concat([tf.concat([start[0], start[1]], axis=1)[None], passed], axis=0)
    states, cells = tf.split(tf.transpose(passed, (1, 0, 2)), 2, axis=2)
    return Trace(inputs, gates, states, cells)


def advance(sums: tf.Tensor, cells: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """State and cell [..., H] after a step, from the gates' sums [..., 4H] and the cell before it."""
    i, f, o, g = activate(sums, cells.shape[-1])
    cells = f * cells + i * g
    return o * tf.tanh(cells), cells


def without_each(layer: LSTM, passed: Trace, counts: tf.Tensor, after: tf.Tensor) -> tf.Tensor:
    """The last state of each history, had one of its newest steps not been.

    A state that lacks a step is the state before it, run on over the steps after it. All run on side by side, the
    oldest gap first: at each step one more row begins.

    Args:
      layer: that made the trace.
      passed: the pass over the whole histories.
      counts: [B] steps of each history.
      after: [B, L, I] input of the step after the l-th newest one, as it is without that one; row 0 is not read.

    Returns:
      [B, L, H] float32; of no meaning where a history has l steps or fewer.
    """
    last, units = after.shape[1], layer.units
    recurrent = tf.cast(layer.recurrent_kernel, layer.compute_dtype)
    changed = layer.input_part(tf.cast(after, layer.compute_dtype))
    gone = tf.maximum(counts[:, None] - 1 - tf.range(last)[None, :], 0)  # [B, L]
    states, cells = (tf.gather(values, gone, batch_dims=1) for values in (passed.states, passed.cells))  # [B, L, H]
    longest = tf.minimum(tf.reduce_max(counts), last)  # rows that have a meaning

    def step(s, h, c):
        begins = longest - s  # the row that begins
        place = tf.maximum(counts - longest + s, 0)  # [B] the step that all rows read
        gates = tf.gather(passed.gates, place, batch_dims=1)[:, None, :]  # [B, 1, 4H]
        gates = tf.concat([tf.repeat(gates, s - 1, axis=1), changed[:, begins : begins + 1]], axis=1)  # [B, s, 4H]
        h = tf.concat([h, states[:, begins : begins + 1]], axis=1)
        c = tf.concat([c, cells[:, begins : begins + 1]], axis=1)
        sums = tf.reshape(product(tf.reshape(h, (-1, units)), recurrent), tf.shape(gates))
        h, c = advance(gates + sums, c)
        return s + 1, h, c

    none = states[:, :0]
    rows = tf.TensorShape([states.shape[0], None, units])
    h = tf.while_loop(
        lambda s, *_: s < longest,
        step,
        (1, none, none),
        shape_invariants=(tf.TensorShape([]), rows, rows),
        maximum_iterations=last,
        parallel_iterations=1,
    )[1]  # [B, longest - 1, H], the oldest first
    h = tf.concat([states[:, :1], tf.reverse(h, axis=[1])], axis=1)
    return tf.ensure_shape(tf.pad(h, [[0, 0], [0, last - tf.shape(h)[1]], [0, 0]]), (None, last, units))
