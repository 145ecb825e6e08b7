"""Perturbations of a model's inputs that raise its loss most, for training against them. Used where losses are taken.

One step along the gradient is FGM (Miyato et al., 2017); several, each put back into the ball, are PGD (Madry et al.,
2018).
"""

from collections.abc import Callable

import tensorflow as tf

from tfrec_llm.config import Regularise


def worst_perturbation(
    loss: Callable[[tf.Tensor], tf.Tensor],
    zero: tf.Tensor,
    settings: Regularise,
    epsilon: float,
    keep: tf.Tensor | None = None,
) -> tf.Tensor:
    """What to add to the inputs.

    Args:
      loss: perturbation [B, ...] -> scalar; its gradient is taken by the perturbation alone.
      zero: zeros [B, ...] of the perturbation's shape.
      settings: `adversarial` ("fgm" or "pgd") and `pgd_steps`.
      epsilon: its greatest length.
      keep: bool, broadcast to the shape: where the inputs may be moved at all.

    Returns:
      [B, ...] float32, of length epsilon in each row at most; no gradient flows through it.
    """
    if not epsilon:
        return zero
    steps = 1 if settings.adversarial == "fgm" else settings.pgd_steps
    length = epsilon if steps == 1 else 2 * epsilon / steps
    axes, moved = list(range(1, zero.shape.rank)), zero
    for _ in range(steps):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(moved)
            cost = loss(moved)
        gradient = tape.gradient(cost, moved)
        if keep is not None:
            gradient = tf.where(keep, gradient, 0.0)
        size = tf.sqrt(tf.reduce_sum(tf.square(gradient), axes, keepdims=True))
        step = tf.math.divide_no_nan(gradient, size)
        moved = tf.clip_by_norm(moved + length * step, epsilon, axes=axes)
    return tf.stop_gradient(moved)
