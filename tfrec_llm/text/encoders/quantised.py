"""Word vectors kept as small integers: the largest table of an encoder, at a quarter of its size.

Each block of 32 numbers (fewer where 32 does not divide the width) shares one float16 scale; a number is its int8 code
times that scale. Rows are made float only when they are looked up, so an exported multilingual encoder stays small.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

BLOCK, LEAST = 32, 8  # numbers of a block; a block of fewer than LEAST would not be worth its scale


class Quantised(NamedTuple):
    """A table as codes and scales."""

    codes: np.ndarray  # [R, D] int8
    scales: np.ndarray  # [R, blocks] float16


def quantise(table: np.ndarray) -> Quantised:
    """Nearest codes in [-127, 127] for a float table.

    Args:
      table: [R, D] float32. Where no block of `LEAST` to `BLOCK` numbers divides D, a row is one block.
    """
    rows, width = table.shape
    block = math.gcd(width, BLOCK)
    blocks = table.astype(np.float32).reshape(rows, -1, block if block >= LEAST else width)
    scales = (np.abs(blocks).max(-1) / 127).astype(np.float16)
    safe = np.where(scales > 0, scales, 1).astype(np.float32)[..., None]
    codes = np.clip(np.rint(blocks / safe), -127, 127).astype(np.int8)
    return Quantised(codes.reshape(rows, width), scales)


def dequantise(table: Quantised) -> np.ndarray:
    """The float32 table [R, D] that the codes stand for."""
    blocks = table.codes.reshape(*table.scales.shape, -1).astype(np.float32)
    return (blocks * table.scales.astype(np.float32)[..., None]).reshape(table.codes.shape)


class QuantisedTable(tf.Module):
    """Rows of a `Quantised`, made float as they are looked up."""

    def __init__(self, table: Quantised, name: str = "table"):
        super().__init__(name=name)
        self._block = table.codes.shape[1] // table.scales.shape[1]
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
        blocks = tf.reshape(tf.cast(codes, tf.float32), tf.concat([tf.shape(scales), [self._block]], 0))
        rows = tf.reshape(blocks * tf.cast(scales, tf.float32)[..., None], shape)
        rows.set_shape([*ids.shape, self.codes.shape[-1]])
        return tf.cast(rows, dtype)
