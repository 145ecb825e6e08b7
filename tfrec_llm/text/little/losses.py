"""Contrastive losses on vectors of unit length: pure functions. Used by `contrast`."""

import tensorflow as tf


def cosine_loss(vectors: tf.Tensor, alike: tf.Tensor) -> tf.Tensor:
    """Squared difference of cosine and likeness over all pairs of a batch, as in SetFit (Tunstall et al., 2022).

    Pairs that are alike and pairs that are not count half each, however many there are.

    Args:
      vectors: [B, D] of unit length.
      alike: [B, B] in [0, 1]: 1 where two rows have the same label.

    Returns:
      Scalar.
    """
    cosine = tf.matmul(vectors, vectors, transpose_b=True)  # [B, B]
    pairs = 1 - tf.eye(tf.shape(vectors)[0])  # no row with itself
    error = tf.square(cosine - alike)
    halves = [_mean(error, pairs * alike), _mean(error, pairs * (1 - alike))]
    return 0.5 * tf.add_n(halves)


def supervised_contrastive_loss(vectors: tf.Tensor, alike: tf.Tensor, temperature: float) -> tf.Tensor:
    """Each row picks the rows alike to it out of the batch (Khosla et al., 2020).

    Args:
      vectors: [B, D] of unit length.
      alike: [B, B] in [0, 1].
      temperature: divides the cosines.

    Returns:
      Scalar: mean over the rows that have a row alike; 0 where none has.
    """
    others = 1 - tf.eye(tf.shape(vectors)[0])
    logits = tf.matmul(vectors, vectors, transpose_b=True) / temperature - 1e9 * (1 - others)  # [B, B]
    log_share = tf.nn.log_softmax(logits) * others
    weight = alike * others
    total = tf.reduce_sum(weight, 1)  # [B]
    rows = -tf.math.divide_no_nan(tf.reduce_sum(weight * log_share, 1), total)
    return _mean(rows, tf.cast(total > 0, tf.float32))


def simcse_loss(vectors: tf.Tensor, again: tf.Tensor, temperature: float) -> tf.Tensor:
    """Each text finds itself, encoded with other dropout, among the texts of the batch (SimCSE, Gao et al., 2021).

    Args:
      vectors: [B, D] of unit length.
      again: [B, D], the same texts under other dropout.
      temperature: divides the cosines.

    Returns:
      Scalar.
    """
    logits = tf.matmul(vectors, again, transpose_b=True) / temperature  # [B, B]
    return -tf.reduce_mean(tf.linalg.diag_part(tf.nn.log_softmax(logits)))


def likeness(targets: tf.Tensor) -> tf.Tensor:
    """How alike labels are: shared labels over all labels of the two.

    Args:
      targets: [B, labels] 0 or 1.

    Returns:
      [B, B] in [0, 1]; 1 for two rows with the same one label.
    """
    targets = tf.cast(targets, tf.float32)
    shared = tf.matmul(targets, targets, transpose_b=True)
    size = tf.reduce_sum(targets, 1)
    return tf.math.divide_no_nan(shared, size[:, None] + size[None, :] - shared)


def _mean(values: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    return tf.math.divide_no_nan(tf.reduce_sum(values * weights), tf.reduce_sum(weights))
