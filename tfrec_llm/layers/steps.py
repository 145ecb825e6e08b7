"""From events to steps, in the graph: which events form one step, and how long the wait before it was.

An event is a step of its own, or, in a basket domain, all events of one user at one second are one step. Behaviour
models read histories through these functions, in training as in the exported program.
"""

import numpy as np
import tensorflow as tf

from tfrec_llm.types import PADDING, History

GAP_BUCKETS = 29  # the last one from 4.3 years on
ENOUGH, SHARE = 200, 0.01  # waits, or a share of all, that a bucket is learnt from
_SAME_SECOND = 1


def step_index(history: History, basket: bool) -> tf.Tensor:
    """The step that each event belongs to.

    Args:
      history: [B, T] each.
      basket: equal known times share a step.

    Returns:
      [B, T] int32, counted from 0; padding repeats the last step's number or goes on counting, and means nothing.
    """
    shape = tf.shape(history.item)
    if not basket:
        return tf.broadcast_to(tf.range(shape[1])[None, :], shape)
    same = tf.logical_and(history.time[:, 1:] == history.time[:, :-1], history.time[:, 1:] != 0)
    padding = history.item[:, 1:] == PADDING
    opens = tf.cast(tf.logical_not(tf.logical_or(same, padding)), tf.int32)
    return tf.pad(tf.cumsum(opens, axis=1), [[0, 0], [1, 0]])[:, : shape[1]]  # T may be 0


def step_count(history: History, steps: tf.Tensor) -> tf.Tensor:
    """[B] int32 number of steps in each history, 0 for an empty one."""
    return tf.maximum(0, tf.reduce_max(tf.where(history.item != PADDING, steps + 1, 0), axis=1))  # T may be 0


def gaps(history: History) -> tf.Tensor:
    """Seconds since the event before.

    Args:
      history: [B, T] each.

    Returns:
      [B, T] int64; -1 where this event's time or the one before is unknown, as at the first event.
    """
    return between(tf.pad(history.time, [[0, 0], [1, 0]])[:, :-1], history.time)


def between(before: tf.Tensor, time: tf.Tensor) -> tf.Tensor:
    """Seconds from one time to another, any shape; -1 where one of them is unknown."""
    known = tf.logical_and(time > 0, before > 0)
    return tf.where(known, tf.maximum(time - before, 0), -tf.ones_like(before))


def log_gaps(history: History) -> tf.Tensor:
    """[B, T] float32 log2(1 + seconds since the event before), 0 where unknown."""
    return _doublings(gaps(history))


def gap_buckets(history: History) -> tf.Tensor:
    """The wait before each event as a small number: [B, T], as of `bucket`."""
    return bucket(gaps(history))


def bucket(seconds: tf.Tensor) -> tf.Tensor:
    """A wait as a small number.

    Args:
      seconds: any shape, -1 unknown.

    Returns:
      The same shape, int32 in [0, GAP_BUCKETS): 0 unknown, 1 the same second, then one bucket per doubling of the
      seconds.
    """
    doublings = tf.cast(tf.floor(_doublings(seconds) + 1e-4), tf.int32)
    return tf.where(seconds < 0, 0, tf.minimum(doublings + 1, GAP_BUCKETS - 1))


def longest_wait(seconds: np.ndarray) -> int:
    """The bucket that longer waits are to count as, since training had too few of them.

    Args:
      seconds: [W] waits of the training, -1 unknown.

    Returns:
      The largest bucket that, with all above it, has `ENOUGH` or a `SHARE` of the known waits; 0 where none is known.
    """
    counts = np.bincount(bucket(tf.constant(seconds, tf.int64)).numpy(), minlength=GAP_BUCKETS)[1:]
    longer = np.cumsum(counts[::-1])[::-1]  # that long, or longer
    return int(np.sum(longer >= max(1, min(ENOUGH, SHARE * counts.sum()))))


def _doublings(seconds: tf.Tensor) -> tf.Tensor:
    """log2(1 + seconds), 0 where unknown."""
    return tf.math.log1p(tf.cast(tf.maximum(seconds, 0), tf.float32)) / tf.math.log(2.0)


def opens(history: History, steps: tf.Tensor) -> tf.Tensor:
    """[B, T] bool: which events are the first of their step [B, T], as of `step_index`."""
    first = tf.pad(steps[:, 1:] != steps[:, :-1], [[0, 0], [1, 0]], constant_values=True)[:, : tf.shape(steps)[1]]
    return first & (history.item != PADDING)


def waits_by_step(history: History, steps: tf.Tensor, num_steps: tf.Tensor) -> tf.Tensor:
    """The wait before each step.

    Args:
      history: [B, T] each.
      steps: [B, T] from `step_index`.
      num_steps: scalar S; later steps count as the last one.

    Returns:
      [B, S] int32 of `bucket`; 0 for steps without an event.
    """
    batch = tf.shape(steps)[0]
    cell = tf.range(batch)[:, None] * num_steps + tf.minimum(steps, num_steps - 1)  # [B, T]
    waits = tf.where(opens(history, steps), gap_buckets(history), 0)
    waits = tf.math.unsorted_segment_max(waits, cell, batch * num_steps)
    return tf.reshape(tf.maximum(waits, 0), tf.stack([batch, num_steps]))


def waits_of(
    history: History, request_time: tf.Tensor | None, kept: tf.Tensor | None = None, basket: bool = False
) -> tf.Tensor:
    """The wait between the newest event and a request.

    Args:
      history: [B, T] each.
      request_time: [B] int64 seconds, 0 unknown; None = unknown for all.
      kept: [B, L, T] bool: which events each of L views of the history has; None = one view with all.
      basket: equal times share a step. A request in the second of the newest one is then of a wait that no step was
        ever asked after, so the wait counts as unknown.

    Returns:
      [B, L] int32 of `bucket`; [B] where kept is None.
    """
    times = history.time if kept is None else tf.where(kept, history.time[:, None], 0)
    newest = tf.maximum(tf.reduce_max(times, axis=-1), 0)  # T may be 0
    if request_time is None:
        return tf.zeros_like(newest, tf.int32)
    asked = request_time if kept is None else request_time[:, None]
    waits = bucket(between(newest, tf.broadcast_to(asked, tf.shape(newest))))
    return tf.where(waits == _SAME_SECOND, 0, waits) if basket else waits


def mean_by_step(values: tf.Tensor, history: History, steps: tf.Tensor, num_steps: tf.Tensor) -> tf.Tensor:
    """Means over the events of each step.

    Args:
      values: [B, T, I] one row per event.
      history: [B, T] each.
      steps: [B, T] from `step_index`.
      num_steps: scalar S, at least the largest number of steps in the batch.

    Returns:
      [B, S, I]; zeros for steps without an event.
    """
    batch = tf.shape(steps)[0]
    cell = tf.range(batch)[:, None] * num_steps + tf.minimum(steps, num_steps - 1)  # [B, T]
    valid = tf.cast(history.item != PADDING, values.dtype)
    total = tf.math.unsorted_segment_sum(values * valid[..., None], cell, batch * num_steps)
    count = tf.math.unsorted_segment_sum(valid, cell, batch * num_steps)
    mean = total / tf.maximum(count, 1)[:, None]  # [B*S, I]
    return tf.reshape(mean, tf.stack([batch, num_steps, tf.shape(values)[-1]]))
