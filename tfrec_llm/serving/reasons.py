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
    links = path.source.past.links(history, item_ids)  # [B, T, n], looked up once
    wanted = tf.repeat(item_ids, last, axis=0)
    without = path.source.scores_of(of_copies, copies, wanted, copied(links, places_without(history, last)))
    whole = path.source.scores_of(queries, history, item_ids, links)[:, None]
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
    places, gone = places_without(history, last), _gone(history, last)
    left_out = tf.gather(history.item, tf.maximum(gone, 0), batch_dims=1)
    return History(*(copied(values, places) for values in history)), tf.where(gone >= 0, left_out, 0)


def places_without(history: History, last: int) -> Tensor:
    """[B, L, T] which place of the history each event of the copies of `without_each` comes from; T is padding."""
    gone, length = _gone(history, last)[..., None], tf.shape(history.item)[1]
    steps = tf.range(length)
    return tf.minimum(steps + tf.cast((steps >= gone) & (gone >= 0), tf.int32), length)


def copied(values: Tensor, places: Tensor) -> Tensor:
    """What belongs to the events [B, T, ...] of histories, for their copies: [B * L, T, ...]."""
    padded = tf.pad(values, [[0, 0], [0, 1], *[[0, 0]] * (len(values.shape) - 2)])  # [B, T + 1, ...]
    found = tf.gather(padded, places, batch_dims=1)  # [B, L, T, ...]
    return tf.reshape(found, tf.concat([[tf.shape(places)[0] * tf.shape(places)[1]], tf.shape(found)[2:]], axis=0))


def _gone(history: History, last: int) -> Tensor:
    """[B, L] places of the newest events, negative where there are fewer."""
    counts = tf.reduce_sum(tf.cast(history.item > 0, tf.int32), axis=1)  # [B]
    return counts[:, None] - 1 - tf.range(last)[None, :]


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
