"""Which candidates a training step of the towers compares with, and how often each is among them.

A sampled softmax is right where each candidate's score is lessened by the logarithm of how often it is sampled (Bengio
and Senecal, 2008). Items are sampled as other pairs' answers, uniformly, and, if wanted, because they score high.
"""

import numpy as np
import tensorflow as tf

from tfrec_llm.layers.unseen import seen_items

POOL = 8  # items drawn for each hard negative that is kept
_SLOWEST = 0.01  # share of a step in the streaming estimate, once a hundred steps were seen
_RAREST = 1e-6


def sampling_probability(counts: np.ndarray, batch_size: int, negatives: int) -> np.ndarray:
    """How often each item is a candidate, relative to the most frequent one (a softmax forgets the rest).

    Args:
      counts: [N+2] training events of each item.
      batch_size: pairs of a step, drawn by frequency.
      negatives: candidates of a step drawn uniformly.

    Returns:
      [N+2] float32 in (0, 1].
    """
    uniform = 1.0 / max(int(seen_items(counts).sum()), 1)
    expected = batch_size * counts / max(counts.sum(), 1.0) + negatives * uniform  # [N+2]
    return np.clip(expected / max(expected.max(), 1e-12), _RAREST, 1.0).astype(np.float32)


def observe(sampled: tf.Variable, step: tf.Tensor, candidates: tf.Tensor, real: tf.Tensor) -> None:
    """Estimates how often each item is a candidate from the stream of steps, for events that nobody can count before.

    A moving average of each item's share of the candidates. (Yi et al., 2019, "Sampling-bias-corrected neural modeling
    for large corpus item recommendations", average the steps between two occurrences, which cannot tell an item that
    comes once a step from one that comes ten times.)

    Args:
      sampled: [N+2] float32, the estimate; the first step replaces what it holds.
      step: steps made before.
      candidates: [C] int32 item indices of a step.
      real: [C] bool: which of them are no padding.
    """
    occurred = tf.math.unsorted_segment_sum(tf.cast(real, tf.float32), candidates, sampled.shape[0])
    share = occurred / tf.maximum(tf.reduce_sum(occurred), 1.0)
    weight = tf.maximum(1.0 / (1.0 + tf.cast(step, tf.float32)), _SLOWEST)
    sampled.assign(tf.clip_by_value(sampled + weight * (share - sampled), _RAREST, 1.0))


def hardest(queries: tf.Tensor, pool: tf.Tensor, vectors: tf.Tensor, count: int) -> tf.Tensor:
    """The items of a pool that some query of the step likes best: mixed with the uniform ones, "hard" negatives.

    Args:
      queries: [P, Q].
      pool: [M] item indices.
      vectors: [M, Q] theirs.
      count: H, at most M.

    Returns:
      [H] item indices, an item that was drawn twice perhaps twice.
    """
    scores = tf.matmul(queries, vectors, transpose_b=True)  # [P, M]
    liked = tf.reduce_max(scores - tf.reduce_max(scores, axis=1, keepdims=True), axis=0)  # [M], 0 = somebody's best
    return tf.gather(pool, tf.math.top_k(tf.stop_gradient(liked), count).indices)


def comparable(shape: tf.Tensor, real: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
    """Which candidates each query is compared with: its own and all others that are no answer in its window.

    Args:
      shape: (S, P).
      real: [S * P] bool, which of the first candidates are answers.
      candidates: [C] item indices, first those of the pairs.

    Returns:
      [S * P, C] bool.
    """
    pairs = shape[0] * shape[1]
    answers = tf.reshape(tf.where(real, candidates[:pairs], -1), tf.stack([shape[0], shape[1], 1]))
    positive = tf.reduce_any(answers == candidates, axis=1)  # [S, C]
    offered = tf.concat([real, tf.fill(tf.shape(candidates)[:1] - pairs, True)], axis=0)  # [C]
    apart = tf.repeat(offered & ~positive, shape[1], axis=0)
    return apart | tf.eye(pairs, tf.shape(candidates)[0], dtype=tf.bool)
