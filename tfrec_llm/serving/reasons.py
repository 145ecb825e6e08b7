"""Why an item is shown: the history items without which it would score less."""

from typing import Any

import tensorflow as tf

from tfrec_llm.layers.left_out import leave_out
from tfrec_llm.retrieval.candidates import Query
from tfrec_llm.types import History, Tensor

REASONS = 3


def scores_without(
    path: Any, queries: Query, history: History, item_ids: Tensor, last: int, passed: Any
) -> tuple[Tensor, Tensor]:
    """Scores of some items, had one of the newest items of the history not been.

    Args:
      path: the signal path.
      queries: its queries for the whole history.
      history: [B, T], padded on the right.
      item_ids: [B, n] item indices.
      last: L, how many of the newest items are left out one by one.
      passed: what the behaviour model kept of the history; with None, copies of the histories are read instead.

    Returns:
      [B, L, n] blend scores, and the items left out [B, L], 0 where there is none.
    """
    repeated = {name: [tf.repeat(values, last, axis=0) for values in pair] for name, pair in queries.items()}
    if passed is None:
        copies, item = without_each(history, last)
        _, without = path.queries(copies, *repeated["text"])
        scores = path.source.scores_of(without, copies, tf.repeat(item_ids, last, axis=0))
        return tf.reshape(scores, [-1, last, tf.shape(item_ids)[1]]), item
    left = leave_out(history, last)
    behaviour, towers = path.behaviour.queries_without(left, passed), path.towers.query_without(history, left)
    repeated["behaviour"][0] = tf.reshape(behaviour, [-1, behaviour.shape[2]])
    known = tf.reshape(tf.reduce_any(left.kept, axis=2), [-1])
    repeated["towers"] = [tf.reshape(towers, [-1, towers.shape[2]]), known]
    return path.source.scores_without(repeated, history, left, item_ids), left.item


def without_each(history: History, last: int) -> tuple[History, Tensor]:
    """Copies of each history with one of its last items left out.

    Args:
      history: [B, T], padded on the right.
      last: L, how many of the newest items are left out one by one.

    Returns:
      A history [B * L, T] (row b * L + l lacks the l-th newest item of row b), and the item left out [B, L],
      0 where the history is shorter.
    """
    batch, length = tf.shape(history.item)[0], tf.shape(history.item)[1]
    counts = tf.reduce_sum(tf.cast(history.item > 0, tf.int32), axis=1)  # [B]
    gone = counts[:, None] - 1 - tf.range(last)[None, :]  # [B, L] positions, negative: nothing to leave out
    steps = tf.range(length)[None, None, :]  # [1, 1, T]
    moved = tf.minimum(steps + tf.cast((steps >= gone[..., None]) & (gone[..., None] >= 0), tf.int32), length)

    def leave_out(values: Tensor) -> Tensor:
        padded = tf.concat([values, tf.zeros([batch, 1], values.dtype)], axis=1)  # [B, T + 1]
        copies = tf.gather(padded, tf.reshape(moved, [batch, last * length]), batch_dims=1)
        return tf.reshape(copies, [batch * last, length])

    left_out = tf.gather(history.item, tf.maximum(gone, 0), batch_dims=1)
    return History(*map(leave_out, history)), tf.where(gone >= 0, left_out, 0)


def strongest(drops: Tensor, left_out: Tensor) -> Tensor:
    """The items whose absence lowers a score most.

    Args:
      drops: [B, L, n] score with all items minus score without the l-th.
      left_out: [B, L] item indices, 0 where there was none.

    Returns:
      [B, n, 3] item indices, strongest first, 0 where the drop is not positive.
    """
    by_item = tf.transpose(tf.where(left_out[..., None] > 0, drops, 0.0), [0, 2, 1])  # [B, n, L]
    depth = min(REASONS, by_item.shape[-1])
    values, positions = tf.math.top_k(by_item, k=depth)  # [B, n, 3]
    # batch_dims=1 over [B, L] with positions [B, n, 3]
    items = tf.gather(left_out, positions, batch_dims=1)
    items = tf.where(values > 0, items, 0)
    return tf.pad(items, [[0, 0], [0, 0], [0, REASONS - depth]])
