"""Dropout whose masks are a function of seed and step alone.

A training that goes on after a kill meets the masks that it would have met. (Under XLA they are others than without:
it numbers the draws of a tensor in another order.) Models pass one of these objects down: `Noise` in training, `QUIET`
otherwise.
"""

import tensorflow as tf


class Noise:
    """The random draws of one training step.

    Args:
      seed: of the run.
      step: scalar integer tensor: which step this is.
    """

    training = True

    def __init__(self, seed: int, step: tf.Tensor):
        self._seed, self._step = seed, tf.cast(step, tf.int32)

    def uniform(self, shape, site: int) -> tf.Tensor:
        """Draws from [0, 1), float32.

        Args:
          shape: of the draws.
          site: another number for each place of a model that draws.
        """
        return tf.random.stateless_uniform(shape, self._site_seed(site), alg="philox")

    def keep(self, shape, rate: float, site: int) -> tf.Tensor:
        """[shape] bool: False with probability `rate`, to the nearest 1 / 65,536.

        Sixteen bits a draw: where dropout is cheap to use, drawing is what it costs, and bits are what that costs.
        """
        size = tf.reduce_prod(shape)
        words = tf.random.stateless_uniform(
            [(size + 3) // 4], self._site_seed(site), minval=None, maxval=None, dtype=tf.uint64, alg="philox"
        )
        draws = tf.reshape(tf.reshape(tf.bitcast(words, tf.uint16), [-1])[:size], shape)
        return tf.cast(draws, tf.int32) >= round(rate * 2**16)

    def keep_each(self, indices: tf.Tensor, num_rows: int, rate: float, site: int) -> tf.Tensor:
        """Draws once for each index of each row: equal indices of a row share their fate.

        Args:
          indices: [B, T] in [0, num_rows).
          num_rows: how many indices there are.
          rate: probability of False.
          site: as in `uniform`; the next number is used too.

        Returns:
          [B, T] bool.
        """
        own = tf.gather(self.uniform((num_rows,), site), indices)  # [B, T]
        turn = self.uniform(tf.stack([tf.shape(indices)[0], 1]), site + 1)
        return tf.math.floormod(own + turn, 1.0) >= rate

    def drop(self, values: tf.Tensor, rate: float, site: int) -> tf.Tensor:
        """Dropout (Srivastava et al., 2014): zeros with probability `rate`, the rest scaled up."""
        if rate <= 0:
            return values
        kept = tf.cast(self.keep(tf.shape(values), rate, site), values.dtype)
        return values * (kept / (1 - rate))

    def _site_seed(self, site: int) -> tf.Tensor:
        return tf.stack([tf.constant((self._seed * 1009 + site) % 2**31, tf.int32), self._step])


class _Quiet:
    """Nothing is drawn and nothing left out."""

    training = False

    def uniform(self, shape, site: int) -> tf.Tensor:
        """Even steps through (0, 1), float32, in place of draws."""
        size = tf.reduce_prod(shape)
        even = (tf.cast(tf.range(size), tf.float32) + 0.5) / tf.cast(size, tf.float32)
        return tf.reshape(even, shape)

    def keep(self, shape, rate: float, site: int) -> tf.Tensor:
        """[shape] bool, all True."""
        return tf.ones(shape, tf.bool)

    def keep_each(self, indices: tf.Tensor, num_rows: int, rate: float, site: int) -> tf.Tensor:
        """[B, T] bool, all True."""
        return tf.ones(tf.shape(indices), tf.bool)

    def drop(self, values: tf.Tensor, rate: float, site: int) -> tf.Tensor:
        """The values."""
        return values


QUIET = _Quiet()
