"""Cross entropy against the item table, whole or sampled.

Behaviour models train with it. A step's target may be several items: the target distribution is uniform over them.
Rows 0 and 1 of an item table never take part.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrec_llm.types import FIRST_ITEM


class Targets(NamedTuple):
    """What should have been predicted, one entry per event that is a target."""

    row: tf.Tensor  # [P] int32 row of the queries
    item: tf.Tensor  # [P] int32 item index
    weight: tf.Tensor  # [P] float32: 1 / number of items that share the step, 0 where the event is no target


@tf.custom_gradient
def log_partition(queries, items):
    """The logarithm of the sum over all items of exp(query . item), with a gradient that needs no probabilities stored.

    Args:
      queries: [R, Q].
      items: [N, Q] without the rows of padding and unknown.

    Returns:
      [R] float32.
    """
    logits = tf.cast(tf.matmul(queries, items, transpose_b=True), tf.float32)  # [R, N]
    highest = tf.reduce_max(logits, axis=1)  # [R]
    powers = tf.exp(logits - highest[:, None])  # [R, N]
    total = tf.reduce_sum(powers, axis=1)  # [R]

    def gradient(upstream):
        share = (upstream / total)[:, None]  # [R, 1]
        unnormalised = tf.cast(powers, queries.dtype)
        d_queries = tf.matmul(unnormalised, items) * tf.cast(share, queries.dtype)
        weighted = queries * tf.cast(share, queries.dtype)
        return d_queries, tf.matmul(unnormalised, weighted, transpose_a=True)

    return highest + tf.math.log(total), gradient


def full_softmax(queries, table, targets: Targets, packed: bool = True):
    """Cross entropy over all items.

    Args:
      queries: [R, Q].
      table: [N+2, Q].
      targets: P entries; their weights sum to 1 for each row that has a target.
      packed: leaves out the rows without a target; not under XLA, which would compile for every number of them.

    Returns:
      Scalar float32: mean over the rows that have a target.
    """
    weights = row_weights(targets, tf.shape(queries)[0])  # [R]
    hits = _inner(queries, targets.row, tf.gather(table, targets.item))  # [P]
    if packed:
        rows = tf.where(weights > 0)[:, 0]
        queries, weights = tf.gather(queries, rows), tf.gather(weights, rows)
    partition = log_partition(queries, table[FIRST_ITEM:])  # [R]
    loss = tf.reduce_sum(weights * partition) - tf.reduce_sum(targets.weight * hits)
    return tf.math.divide_no_nan(loss, tf.reduce_sum(weights))


def sampled_softmax(queries, target_vectors, sample_vectors, sample, log_expected, targets: Targets):
    """Cross entropy whose partition is estimated from sampled items, shared by the batch.

    The negatives are corrected by the logarithm of their expected count, the targets are not, so that the estimate of
    the partition is unbiased. Samples that are a target of the same row (accidental hits) are removed.

    Args:
      queries: [R, Q].
      target_vectors: [P, Q] vectors of the targets.
      sample_vectors: [S, Q] vectors of the samples.
      sample: [S] int32 item indices, repeats allowed.
      log_expected: [S] logarithm of how often each is expected in the sample.
      targets: P entries.

    Returns:
      Scalar float32: mean over the rows that have a target.
    """
    num_rows = tf.shape(queries)[0]
    weights = row_weights(targets, num_rows)
    logits = tf.cast(tf.matmul(queries, sample_vectors, transpose_b=True), tf.float32)  # [R, S]
    logits -= log_expected[None, :] + 1e9 * _accidental_hits(sample, targets, num_rows)
    hits = _inner(queries, targets.row, target_vectors)  # [P]
    highest = tf.stop_gradient(
        tf.maximum(
            tf.reduce_max(logits, axis=1),
            tf.math.unsorted_segment_max(tf.where(targets.weight > 0, hits, -1e9), targets.row, num_rows),
        )
    )  # [R]
    positive = tf.where(targets.weight > 0, tf.exp(hits - tf.gather(highest, targets.row)), 0)
    total = tf.reduce_sum(tf.exp(logits - highest[:, None]), axis=1)
    total += tf.math.unsorted_segment_sum(positive, targets.row, num_rows)
    partition = highest + tf.math.log(total)  # [R]
    loss = tf.reduce_sum(weights * partition) - tf.reduce_sum(targets.weight * hits)
    return tf.math.divide_no_nan(loss, tf.reduce_sum(weights))


class Sampler:
    """Draws items with replacement, for `sampled_softmax`; a draw costs the logarithm of the number of items.

    Args:
      share: [N+2] how often each item is drawn, in any unit; rows 0 and 1 are ignored.
    """

    def __init__(self, share: np.ndarray):
        share = np.asarray(share, np.float64)[FIRST_ITEM:]
        total = share.sum()
        self._edges = tf.constant(np.cumsum(share) / total)  # float64: float32 cannot tell a million items apart
        self._log_share = tf.constant(np.log(np.maximum(share / total, 1e-30)), tf.float32)

    def __call__(self, uniform: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One draw from each of S equal parts of the items' shares, which leaves the expected counts as they are.

        Args:
          uniform: [S] numbers in [0, 1), the randomness.

        Returns:
          ([S] int32 item indices, [S] float32 logarithm of the expected count of each).
        """
        size = tf.shape(uniform)[0]
        place = tf.cast(tf.range(size), tf.float64) + tf.cast(uniform, tf.float64)
        drawn = tf.searchsorted(self._edges, place / tf.cast(size, tf.float64), side="right")
        drawn = tf.minimum(drawn, self._edges.shape[0] - 1)
        return drawn + FIRST_ITEM, tf.gather(self._log_share, drawn) + tf.math.log(tf.cast(size, tf.float32))


def row_weights(targets: Targets, num_rows) -> tf.Tensor:
    """[R] float32: 1 for a row that has a target, else 0."""
    return tf.math.unsorted_segment_sum(targets.weight, targets.row, num_rows)


def _inner(queries, rows, vectors):
    """[P] float32 inner products of some queries with one vector each."""
    return tf.cast(tf.reduce_sum(tf.gather(queries, rows) * vectors, axis=-1), tf.float32)


def _accidental_hits(sample, targets: Targets, num_rows):
    """[R, S] float32: 1 where a sample is a target of the row."""
    order = tf.argsort(sample)
    ordered = tf.gather(sample, order)
    first = tf.searchsorted(ordered, targets.item, side="left")  # [P]
    found = tf.gather(ordered, tf.minimum(first, tf.shape(sample)[0] - 1)) == targets.item
    live = tf.logical_and(found, targets.weight > 0)
    group = tf.searchsorted(ordered, sample, side="left")  # [S] first position of the sample's item
    cell = targets.row * tf.shape(sample)[0] + tf.where(live, first, 0)
    marks = tf.math.unsorted_segment_max(tf.cast(live, tf.float32), cell, num_rows * tf.shape(sample)[0])
    marks = tf.reshape(tf.maximum(marks, 0), (num_rows, -1))  # [R, S] by first position
    return tf.gather(marks, group, axis=1)
