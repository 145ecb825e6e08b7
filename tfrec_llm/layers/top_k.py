"""Exact top-k over item tables with exclusions inside: the one index of retrieval, in evaluation and in the export.

Only standard operations, float32, no randomness; ties go to the lower item index. Long rows are searched in two stages,
with the same answer.
"""

import tensorflow as tf

from tfrec_llm.types import FIRST_ITEM

BLOCK = 32  # neighbouring scores that share one maximum in the first stage
WORTH = 4  # times k blocks: with fewer of them one stage is as fast
LOWEST = -1e30  # score of a place that no allowed item fills: finite, below every real score


def allowed_items(shown: tf.Tensor, exclude: tf.Tensor) -> tf.Tensor:
    """Which items each row may be given.

    Args:
      shown: [N+2] bool, items that may be shown at all; rows 0 and 1 count as False whatever they hold.
      exclude: [B, X] item indices that a row must not get; 0 and indices outside the table exclude nothing.

    Returns:
      [B, N+2] bool.
    """
    num_rows = tf.shape(shown)[0]
    shown = shown & (tf.range(num_rows) >= FIRST_ITEM)
    exclude = tf.cast(exclude, tf.int32)
    exclude = tf.where((exclude >= 0) & (exclude < num_rows), exclude, 0)  # [B, X]
    batch = tf.shape(exclude)[0]
    rows = tf.broadcast_to(tf.range(batch)[:, tf.newaxis], tf.shape(exclude))  # [B, X]
    where = tf.reshape(tf.stack([rows, exclude], axis=-1), [-1, 2])  # [B * X, 2]
    free = tf.tensor_scatter_nd_min(tf.ones([batch, num_rows], tf.int32), where, tf.zeros_like(where[:, 0]))
    return (free > 0) & shown


def exact_top_k(scores: tf.Tensor, allowed: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The k best allowed items of every row.

    Args:
      scores: [B, N+2] float32, finite.
      allowed: [B, N+2] bool.
      k: places to fill; at most N of them are returned.

    Returns:
      item_ids [B, K] int32 best first, scores [B, K], allowed [B, K], with K = min(k, N). Where fewer than K items are
      allowed, the last places hold item 0, the score `LOWEST` and False.

    Raises:
      ValueError: k is not positive.
    """
    if k < 1:
        raise ValueError(f"exact_top_k: expected k of at least 1, got {k}; ask for one item or more.")
    width = scores.shape[1]
    if width is None:
        raise ValueError("exact_top_k: expected scores [B, N+2] with a static number of items; set their shape first.")
    scores = tf.where(allowed, tf.cast(scores, tf.float32), -float("inf"))
    values, ids = best_of(scores, min(k, max(width - FIRST_ITEM, 1)))
    found = values > -float("inf")
    return tf.where(found, ids, 0), tf.where(found, values, LOWEST), found


def best_of(scores: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """What `tf.math.top_k` gives, sooner where rows are long.

    A row is cut into blocks. The k largest scores lie in the k blocks with the largest maxima: a score in another block
    has k maxima before it, each greater, or equal and further to the left. So all but k blocks are read once, for
    their maximum, and only the scores of those k are sorted.

    Args:
      scores: [R, W] float32, W static; -inf where a score must not win.
      k: at most W.

    Returns:
      values [R, k], largest first, and their places [R, k] int32; equal values by place.
    """
    width = int(scores.shape[1])
    if width < WORTH * BLOCK * k:
        return tf.math.top_k(scores, k=k, sorted=True)
    if width % BLOCK:
        scores = tf.pad(scores, [[0, 0], [0, -width % BLOCK]], constant_values=-float("inf"))
    blocks = tf.reshape(scores, [-1, -(-width // BLOCK), BLOCK])  # [R, W/32, 32]
    chosen = tf.math.top_k(tf.reduce_max(blocks, axis=2), k=k).indices
    chosen = tf.sort(chosen, axis=1)  # [R, k] from left to right, so that equal scores stay in order
    inside = tf.reshape(tf.gather(blocks, chosen, batch_dims=1), [-1, k * BLOCK])
    values, places = tf.math.top_k(inside, k=k, sorted=True)
    return values, tf.gather(chosen, places // BLOCK, batch_dims=1) * BLOCK + places % BLOCK
