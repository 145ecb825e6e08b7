"""What the ranker is told about each candidate, from the sources' scores, the history and the catalogue."""

from collections.abc import Iterable, Sequence

import tensorflow as tf

from tfrec_llm.types import Tensor


def feature_names(vector_sources: Iterable[str], content_dim: int) -> tuple[str, ...]:
    """Names of the features, in order.

    One score for each source with a query vector and the blend's, all standardised over the row's candidates (0 where
    the row lacks the source); the softmax of the blend over the candidates; minus the log of the rank; log popularity,
    log price and mean reward in training (worth) standardised over the catalogue; log(1 + events) of the item in the
    history, plain and by recency; the item's position on the main axes of the item vectors.
    """
    fixed = ("blend", "blend_probability", "log_reciprocal_rank", "history_count", "history_recency")
    return (*vector_sources, *fixed, "popularity", "price", "worth", *(f"content_{i}" for i in range(content_dim)))


def candidate_features(
    parts: Sequence[Tensor], scores: Tensor, allowed: Tensor, held: Sequence[Tensor], facts: Tensor
) -> Tensor:
    """Puts the features together.

    Args:
      parts: [B, K] scores of each source with a query vector.
      scores: [B, K] blend scores, best first.
      allowed: [B, K] bool.
      held: [B, K] count and recency of the candidates in the history.
      facts: [B, K, 3 + content] of `item_facts`.

    Returns:
      [B, K, F] float32, finite; zeros where not allowed.
    """
    scores = tf.where(allowed, scores, 0.0)
    probability = tf.nn.softmax(tf.where(allowed, scores, -1e9), axis=-1)  # [B, K]
    rank = tf.range(1, tf.shape(scores)[1] + 1)
    rank = tf.broadcast_to(-tf.math.log(tf.cast(rank, tf.float32)), tf.shape(scores))
    columns = [*(standardise(part, allowed) for part in parts), standardise(scores, allowed), probability, rank, *held]
    features = tf.concat([tf.stack(columns, axis=-1), facts], axis=-1)  # [B, K, F]
    return tf.where(allowed[:, :, tf.newaxis], features, 0.0)


def standardise(values: Tensor, allowed: Tensor) -> Tensor:
    """Mean 0 and about variance 1 over the allowed places of each row, 0 elsewhere: [B, K]."""
    mask = tf.cast(allowed, values.dtype)
    count = tf.maximum(tf.reduce_sum(mask, axis=-1, keepdims=True), 1.0)
    centred = (values - tf.reduce_sum(values * mask, axis=-1, keepdims=True) / count) * mask
    variance = tf.reduce_sum(tf.square(centred), axis=-1, keepdims=True) / count
    return centred * tf.math.rsqrt(variance + 1e-4)
