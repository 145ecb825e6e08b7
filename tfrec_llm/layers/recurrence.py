"""What the recurrent layers share: one loop over the steps, mixed-precision products, one mask for all steps."""

from collections.abc import Callable

import tensorflow as tf


def product(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """a b in the precision of b, as the type of a."""
    return tf.cast(tf.matmul(tf.cast(a, b.dtype), b), a.dtype)


def masked(values: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
    """The values, times a mask where there is one."""
    return values if mask is None else values * mask


def state_mask(noise, batch: tf.Tensor, units: int, rate: float, site: int) -> tf.Tensor | None:
    """Variational dropout of a recurrent state: one mask for all steps of a sequence (Gal and Ghahramani, 2016).

    Args:
      noise: draws it.
      batch: B.
      units: H.
      rate: share that is zero.
      site: of the noise.

    Returns:
      [B, H] float32, what is kept scaled up; None where nothing is left out.
    """
    if not noise.training or rate <= 0:
        return None
    return noise.drop(tf.ones(tf.stack([batch, units])), rate, site)


def kernel_gradient(before: tf.Tensor, d_sums: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Gradient of the recurrent kernel, one product over all steps.

    Args:
      before: [T, B, H] states that were multiplied.
      d_sums: [T, B, W] gradients of the products.
      dtype: of the product and of the answer.

    Returns:
      [H, W].
    """
    rows = tf.cast(tf.reshape(before, (-1, before.shape[-1])), dtype)
    columns = tf.cast(tf.reshape(d_sums, (-1, d_sums.shape[-1])), dtype)
    return tf.matmul(rows, columns, transpose_a=True)


def array(like: tf.Tensor, width: int) -> tf.TensorArray:
    """Room for one [B, width] tensor of each step, B and type as in `like` [T, B, ...]."""
    return tf.TensorArray(like.dtype, size=tf.shape(like)[0], element_shape=(like.shape[1], width))


def loop(step: Callable, state: tuple, length: tf.Tensor) -> tuple:
    """Runs `step` so often; the first part of the state counts from 0."""
    return tf.while_loop(lambda t, *_: t < length, step, state, maximum_iterations=length, parallel_iterations=1)
