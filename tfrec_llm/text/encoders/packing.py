"""Tokens without their padding: what the dense layers of `bert` see of a batch of texts of mixed length."""

from typing import Protocol

import tensorflow as tf


class Rows(Protocol):
    """Which of the B * L tokens the dense layers see."""

    def squeeze(self, x: tf.Tensor) -> tf.Tensor:
        """[B * L, W] -> [R, W]."""

    def spread(self, x: tf.Tensor) -> tf.Tensor:
        """[R, W] -> [B * L, W]; what stands at padding is finite and without meaning."""


class _Padded:
    """All of them."""

    def squeeze(self, x: tf.Tensor) -> tf.Tensor:
        """The same."""
        return x

    def spread(self, x: tf.Tensor) -> tf.Tensor:
        """The same."""
        return x


class Packed:
    """Those that are no padding. Their number depends on the texts, so not under XLA.

    Args:
      mask: [B, L] bool, False at padding.
    """

    def __init__(self, mask: tf.Tensor):
        flat = tf.reshape(mask, [-1])
        self._kept = tf.cast(tf.where(flat)[:, 0], tf.int32)  # [R]
        place = tf.cumsum(tf.cast(flat, tf.int32)) - 1
        self._place = tf.maximum(place, 0)  # [B * L] padding repeats the token before it

    def squeeze(self, x: tf.Tensor) -> tf.Tensor:
        """[B * L, W] -> [R, W]."""
        return tf.gather(x, self._kept)

    def spread(self, x: tf.Tensor) -> tf.Tensor:
        """[R, W] -> [B * L, W]."""
        return tf.gather(x, self._place)


PADDED = _Padded()
