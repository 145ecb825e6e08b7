"""Losses of the text side: pure functions on logits. Rows without a label cost nothing."""

import tensorflow as tf

SOFTENED = 2.0  # temperature of a teacher's answers, at which its doubts show


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


def label_loss(
    logits: tf.Tensor,
    targets: tf.Tensor,
    weights: tf.Tensor,
    multi_label: bool,
    smoothing: float = 0.0,
    soft: tf.Tensor | None = None,
) -> tf.Tensor:
    """What a task's labels cost; half of it what a teacher's answers cost, where there are any.

    Args:
      logits, targets, weights, smoothing: as of the two functions above.
      multi_label: which of them.
      soft: [B, labels] as of `distillation`, or None.

    Returns:
      [B] float32.
    """
    cost = masked_binary_cross_entropy if multi_label else masked_cross_entropy
    hard = cost(logits, targets, weights, smoothing)
    if soft is None:
        return hard
    taught = tf.reduce_min(soft, -1) >= 0
    return tf.where(taught, (hard + distillation(logits, soft, multi_label) * weights) / 2, hard)


def distillation(logits: tf.Tensor, soft: tf.Tensor, multi_label: bool) -> tf.Tensor:
    """Cross entropy with a teacher's softened answers (Hinton et al., 2015).

    Args:
      logits: [B, labels] of the model that learns.
      soft: [B, labels] probabilities that the teacher states at the temperature `SOFTENED`; -1 = it was not asked.
      multi_label: each label is decided on its own.

    Returns:
      [B] float32, times the square of the temperature, so that its gradients are of the size of the hard labels'.
    """
    known, soft, logits = tf.reduce_min(soft, -1) >= 0, tf.maximum(soft, 0.0), logits / SOFTENED
    if multi_label:
        losses = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(soft, logits), -1)
    else:
        losses = tf.nn.softmax_cross_entropy_with_logits(soft, logits)
    return tf.where(known, losses * SOFTENED**2, 0.0)


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
