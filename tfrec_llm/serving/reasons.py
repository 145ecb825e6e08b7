"""Why an item is shown: the history items without which it would score less."""

from typing import Any, NamedTuple

import tensorflow as tf

from tfrec_llm.layers.left_out import LeftOut
from tfrec_llm.retrieval.candidates import Query
from tfrec_llm.types import History, Tensor

REASONS = 3


class Views(NamedTuple):
    """A history without each of its newest events, as behaviour model and towers see it."""

    left: LeftOut
    behaviour: Tensor  # [B, L + 1, Q] queries
    towers: Tensor  # [B, L + 1, Q2] queries


def drops(path: Any, queries: Query, history: History, item_ids: Tensor, views: Views) -> Tensor:
    """What the scores of some items lose without each of the newest items of the history.

    Args:
      path: the signal path.
      queries: its queries for the whole history.
      history: [B, T], padded on the right.
      item_ids: [B, n] item indices.
      views: of the history.

    Returns:
      [B, L, n].
    """
    left, count = views.left, views.towers.shape[1]
    repeated = {name: [tf.repeat(values, count, axis=0) for values in pair] for name, pair in queries.items()}
    repeated["behaviour"][0] = tf.reshape(views.behaviour, [-1, views.behaviour.shape[2]])
    known = tf.reshape(tf.reduce_any(left.kept, axis=2), [-1])
    repeated["towers"] = [tf.reshape(views.towers, [-1, views.towers.shape[2]]), known]
    scores = path.source.scores_without(repeated, history, left, item_ids)
    return scores[:, -1:] - scores[:, :-1]


def drops_by_copies(
    path: Any, queries: Query, history: History, request_time: Tensor, item_ids: Tensor, last: int
) -> tuple[Tensor, Tensor]:
    """As `drops`, for every behaviour model and domain: copies that lack an event are read whole.

    Returns:
      [B, L, n], and the items left out [B, L], 0 where there is none.
    """
    copies, left_out = without_each(history, last)
    asked = (request_time, *queries["text"])
    _, of_copies = path.queries(copies, *(tf.repeat(values, last, axis=0) for values in asked))
    without = path.source.scores_of(of_copies, copies, tf.repeat(item_ids, last, axis=0))
    whole = path.source.scores_of(queries, history, item_ids)[:, None]
    return whole - tf.reshape(without, [-1, last, tf.shape(item_ids)[1]]), left_out


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
