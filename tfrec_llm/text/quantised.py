"""Word vectors kept as small integers: the largest table of an encoder, at a quarter of its size.

Each block of 32 numbers shares one float16 scale; a number is its int8 code times that scale. Rows are made float only
when they are looked up, so an exported multilingual encoder stays small.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

BLOCK = 32


class Quantised(NamedTuple):
    """A table as codes and scales."""

    codes: np.ndarray  # [R, D] int8
    scales: np.ndarray  # [R, D / BLOCK] float16


def quantise(table: np.ndarray) -> Quantised:
    """Nearest codes in [-127, 127] for a float table.

    Args:
      table: [R, D] float32, D a multiple of 32.

    Raises:
      ValueError: the width does not divide into blocks.
    """
    rows, width = table.shape
    if width % BLOCK:
        raise ValueError(f"expected a width that is a multiple of {BLOCK}, got {width}: pad the table's columns.")
    blocks = table.astype(np.float32).reshape(rows, -1, BLOCK)
    scales = (np.abs(blocks).max(-1) / 127).astype(np.float16)
    safe = np.where(scales > 0, scales, 1).astype(np.float32)[..., None]
    codes = np.clip(np.rint(blocks / safe), -127, 127).astype(np.int8)
    return Quantised(codes.reshape(rows, width), scales)


def dequantise(table: Quantised) -> np.ndarray:
    """The float32 table [R, D] that the codes stand for."""
    blocks = table.codes.reshape(*table.scales.shape, BLOCK).astype(np.float32)
    return (blocks * table.scales.astype(np.float32)[..., None]).reshape(table.codes.shape)


class QuantisedTable(tf.Module):
    """Rows of a `Quantised`, made float as they are looked up."""

    def __init__(self, table: Quantised, name: str = "table"):
        super().__init__(name=name)
        with tf.device("CPU"):  # int8 lookups have no kernel on every device
            self.codes = tf.Variable(table.codes, trainable=False, name="codes")
            self.scales = tf.Variable(table.scales, trainable=False, name="scales")

    def __call__(self, ids: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
        """Looks rows up.

        Args:
          ids: [...] int32 row numbers.

        Returns:
          [..., D] rows in `dtype`.
        """
        codes, scales = tf.gather(self.codes, ids), tf.gather(self.scales, ids)
        shape = tf.shape(codes)
        blocks = tf.reshape(tf.cast(codes, tf.float32), tf.concat([tf.shape(scales), [BLOCK]], 0))
        rows = tf.reshape(blocks * tf.cast(scales, tf.float32)[..., None], shape)
        rows.set_shape([*ids.shape, self.codes.shape[-1]])
        return tf.cast(rows, dtype)
