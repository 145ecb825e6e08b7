"""Losses of the text side: pure functions on logits. Rows without a label cost nothing."""

import tensorflow as tf


def masked_cross_entropy(
    logits: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor, smoothing: float = 0.0
) -> tf.Tensor:
    """Cross entropy of single labels, row by row.

    Args:
      logits: [B, labels] float32.
      targets: [B] int32 label numbers, -1 = this row has none.
      weights: [B] float32 weights of rows.
      smoothing: share of each target spread evenly over all labels (Szegedy et al., 2016).

    Returns:
      [B] float32, 0 where there is no label.
    """
    labels = logits.shape[-1]
    known = targets >= 0
    wanted = tf.one_hot(tf.maximum(targets, 0), labels) * (1 - smoothing) + smoothing / labels
    losses = tf.nn.softmax_cross_entropy_with_logits(wanted, logits)
    return tf.where(known, losses * weights, 0.0)


def masked_binary_cross_entropy(logits: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor, smoothing: float = 0.0):
    """Cross entropy of labels that are decided each on its own: the mean over the labels of a row.

    Args:
      logits: [B, labels] float32.
      targets: [B, labels] float32, 1, 0, or -1 = not known.
      weights: [B] float32 weights of rows.
      smoothing: targets are moved towards a half by this share.

    Returns:
      [B] float32, 0 where nothing is known.
    """
    known = tf.cast(targets >= 0, tf.float32)
    wanted = tf.maximum(targets, 0.0) * (1 - smoothing) + smoothing / 2
    losses = tf.nn.sigmoid_cross_entropy_with_logits(wanted, logits) * known
    return tf.math.divide_no_nan(tf.reduce_sum(losses, -1), tf.reduce_sum(known, -1)) * weights


def divergence(first: tf.Tensor, second: tf.Tensor, multi_label: bool) -> tf.Tensor:
    """Symmetric Kullback-Leibler divergence of two answers, as R-Drop asks to be small (Liang et al., 2021).

    Args:
      first: [B, labels] logits of one pass; second: of another.
      multi_label: each label is decided on its own.

    Returns:
      [B] float32: half the sum of both directions, and the mean over labels where multi-label.
    """
    if multi_label:  # of two Bernoulli distributions, both directions: (p - q) times the difference of their logits
        return tf.reduce_mean((tf.sigmoid(first) - tf.sigmoid(second)) * (first - second), -1) / 2
    gap = tf.nn.log_softmax(first) - tf.nn.log_softmax(second)
    return tf.reduce_sum((tf.nn.softmax(first) - tf.nn.softmax(second)) * gap, -1) / 2
