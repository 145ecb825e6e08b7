"""A history without one of its newest events, for each of them, in the places of the whole history.

Where an event is a step of its own, leaving one out changes little: the events after it keep their age, those before
it are a step younger, and one wait is another. What reads a history can so tell what it would have said without each
event for a fraction of reading it so many times.
"""

from typing import NamedTuple

import tensorflow as tf

from tfrec_llm.layers import steps
from tfrec_llm.types import PADDING, History, Tensor


class LeftOut(NamedTuple):
    """L + 1 views of each history [B, T]; in view l the l-th newest event is missing, in the last one nothing is."""

    gone: Tensor  # [B, L + 1] int32 place of the missing event; negative: nothing is missing
    item: Tensor  # [B, L] its item, 0 where the history is shorter
    kept: Tensor  # [B, L + 1, T] bool which events are there
    age: Tensor  # [B, L + 1, T] int32 events after it that are there
    gap: Tensor  # [B, L + 1] int32 bucket of the wait before the event that came next, as of `steps.bucket`
    request: Tensor  # [B, L + 1] int32 bucket of the wait before the request


def leave_out(history: History, last: int, request_time: Tensor | None = None) -> LeftOut:
    """Leaves each of the newest events out.

    Args:
      history: [B, T] each, padded on the right.
      last: L.
      request_time: [B] int64 seconds, 0 unknown; None = unknown for all.
    """
    length = tf.shape(history.item)[1]
    real = history.item != PADDING
    counts = tf.reduce_sum(tf.cast(real, tf.int32), axis=1)  # [B]
    gone = tf.maximum(counts[:, None] - 1 - tf.range(last)[None, :], -1)
    gone = tf.pad(gone, [[0, 0], [0, 1]], constant_values=-1)  # [B, L + 1]
    places = tf.range(length)[None, None, :]  # [1, 1, T]
    later = tf.cast(places > gone[..., None], tf.int32)  # [B, L + 1, T]
    kept = real[:, None, :] & (places != gone[..., None])
    item = tf.where(gone >= 0, tf.gather(history.item, tf.maximum(gone, 0), batch_dims=1), 0)[:, :-1]
    around = tf.clip_by_value(tf.concat([gone - 1, gone + 1], axis=1), 0, length - 1)
    before, after = tf.split(tf.gather(history.time, around, batch_dims=1), 2, axis=1)
    gap = steps.bucket(steps.between(tf.where(gone > 0, before, 0), after))
    request = steps.waits_of(history, request_time, kept)
    return LeftOut(gone, item, kept, counts[:, None, None] - 2 - places + later, gap, request)
