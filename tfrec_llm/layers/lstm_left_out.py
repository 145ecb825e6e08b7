"""The last state of an LSTM after whole histories, and after those that lack one of their newest steps.

For answering, not for training: there is no gradient and no dropout. The served behaviour model answers and explains
with it. A row of a batch is too little work for its operations, so here are few of them: histories end together, and
where one has not begun its gates are shut instead of its state being chosen; some steps are laid out in each turn of
the loops. The whole histories are run to their end in a loop of their own: what an answer needs is there early, and
what its reasons need is computed on another core meanwhile.
"""

from typing import NamedTuple

import tensorflow as tf

from tfrec_llm.layers.lstm import LSTM
from tfrec_llm.layers.recurrence import loop, product

_TURN = 5  # steps in one turn of a loop, which costs as much as half a step
_SHUT = 1e4  # a sum of this size shuts or opens a gate


class LastStates(NamedTuple):
    """Of histories, whole and without one step."""

    whole: tf.Tensor  # [B, H] float32
    without: tf.Tensor  # [B, L, H] float32, without the l-th newest step; of no meaning after l steps or fewer
    begun: tf.Tensor  # of any shape, there when the first step can be taken; what is less urgent may wait for it


def last_states(layer: LSTM, inputs: tf.Tensor, counts: tf.Tensor, after: tf.Tensor) -> LastStates:
    """Runs a built layer over histories.

    A history that lacks a step goes on from the state before it, over the steps after it, beside the whole one and
    the others: at each of the last steps one more row begins.

    Args:
      layer: of H units.
      inputs: [B, T, I], padded on the right.
      counts: [B] steps of each history.
      after: [B, L, I] input of the step after the l-th newest one, as it is without that one; row 0 is not read.
    """
    last, units, batch, longest = after.shape[1], layer.units, tf.shape(inputs)[0], tf.reduce_max(counts)
    late = tf.minimum(_turns(longest), -(-last // _TURN))  # turns in which rows begin
    early = _turns(longest - _TURN * late)
    recurrent = tf.cast(layer.recurrent_kernel, layer.compute_dtype)
    steps = _TURN * (early + late)
    place = tf.range(-steps, 0)[:, None] + counts  # [S, B] what is read at each step; negative: not begun
    read = tf.transpose(tf.gather(inputs, tf.transpose(tf.maximum(place, 0)), batch_dims=1), (1, 0, 2))
    gates = _gates(layer, read, place, recurrent)
    gates = tf.reshape(gates, [early + late, _TURN, batch, 4 * units])
    gap = tf.range(_TURN * late, 0, -1)  # at each late step, which row began a step ago
    changed = tf.gather(tf.transpose(after, (1, 0, 2)), tf.minimum(gap, last - 1))
    changed = _gates(layer, changed, counts - 1 - gap[:, None], recurrent)
    changed = tf.reshape(changed, [late, _TURN, batch, 4 * units])
    whole, states = _run(layer, gates, changed, early, late, recurrent)  # [B, H], [R * B, H]
    states = tf.transpose(tf.reshape(states, [-1, batch, units]), (1, 0, 2))[:, : last + 1]
    states = tf.pad(states, [[0, 0], [0, last + 1 - tf.shape(states)[1]], [0, 0]])
    begun = tf.stack([counts > 0, counts > 1], axis=1)[..., None]  # nothing was read before a first step
    start = tf.cast(layer.start[0], tf.float32)
    without = tf.concat([tf.where(begun[:, 1:], states[:, 1:2], start), states[:, 2:]], axis=1)
    return LastStates(
        tf.where(begun[:, 0], whole, start), tf.ensure_shape(without, [None, last, units]), gates[:1, :1, :1, :1]
    )


def _turns(steps: tf.Tensor) -> tf.Tensor:
    """Turns that so many steps take."""
    return (tf.maximum(steps, 0) + _TURN - 1) // _TURN


def _gates(layer: LSTM, inputs: tf.Tensor, place: tf.Tensor, recurrent: tf.Tensor) -> tf.Tensor:
    """What steps add to the gates' sums: inputs [S, B, I] at places [S, B] of their histories -> [S, B, 4H].

    Before a history begins its gates are shut, which holds the cell and makes the state zero; so what the learned start
    state would add to its first step is added here.
    """
    start = product(tf.cast(layer.start[:1], tf.float32), recurrent)  # [1, 4H]
    shut = tf.repeat(tf.constant([[-_SHUT, _SHUT, -_SHUT, 0.0]]), layer.units, axis=1)
    more = tf.gather(tf.concat([shut, start, tf.zeros_like(start)], axis=0), tf.clip_by_value(place + 1, 0, 2))
    return layer.input_part(tf.cast(inputs, layer.compute_dtype)) + more


def _run(
    layer: LSTM, gates: tf.Tensor, changed: tf.Tensor, early: tf.Tensor, late: tf.Tensor, recurrent: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Runs over all steps; and over the late ones again, with a row more after each.

    Args:
      layer: for its start.
      gates: [early + late, TURN, B, 4H].
      changed: [late, TURN, B, 4H] in their place for the row that began a step ago.
      early: turns.
      late: turns.
      recurrent: [H, 4H].

    Returns:
      [B, H] states of the whole histories; and [(2 + late * TURN) * B, H], the same again, then of those that lack the
      newest step, and so on; the last rows mean nothing.
    """
    batch, units = tf.shape(gates)[2], layer.units

    def alone(t, h, c):
        for whole in tf.unstack(gates[t]):
            h, c = _step(whole, h, c, recurrent)
        return t + 1, h, c

    def beside(t, h, c):
        wholes, others = tf.unstack(gates[early + t]), tf.unstack(changed[t])
        for place, (whole, other) in enumerate(zip(wholes, others, strict=True)):
            rest = tf.tile(whole, [t * _TURN + place, 1])
            after, cell = _step(tf.concat([whole, other, rest], axis=0), h, c, recurrent)
            h = tf.concat([after[:batch], h[:batch], after[batch:]], axis=0)
            c = tf.concat([cell[:batch], c[:batch], cell[batch:]], axis=0)
        return t + 1, h, c

    start = (0, tf.zeros([batch, units]), tf.tile(tf.cast(layer.start[1:], tf.float32), [batch, 1]))
    early_state = loop(alone, start, early)
    _, whole, _ = loop(alone, early_state, early + late)
    _, h, c = early_state
    rows = tf.TensorShape([None, units])
    _, states, _ = tf.while_loop(
        lambda t, *_: t < late,
        beside,
        (0, tf.concat([h, h], axis=0), tf.concat([c, c], axis=0)),
        shape_invariants=(tf.TensorShape([]), rows, rows),
        maximum_iterations=late,
        parallel_iterations=1,
    )
    return whole, states


def _step(gates: tf.Tensor, h: tf.Tensor, c: tf.Tensor, recurrent: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """State and cell [R, H] after a step, from what its input adds to the gates' sums [R, 4H]."""
    i, f, o, g = tf.split(gates + product(h, recurrent), 4, axis=1)
    c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
    return tf.sigmoid(o) * tf.tanh(c), c
