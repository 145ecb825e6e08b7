"""Causal self-attention over the steps of a history: the body of the behaviour model `sasrec`.

Where a step stands is counted back from each state that reads it, so that a history of any length and a piece cut from
anywhere look alike, in training (all states of a sequence at once) as in serving (the newest state alone).
"""

import tensorflow as tf

from tfrec_llm.layers.noise import QUIET

_SITE = 421  # of the noise; two more for each block
_HIDDEN = -1e9


class CausalAttention(tf.keras.layers.Layer):
    """Blocks of self-attention and a pointwise network, layer norm first (Kang and McAuley, 2018; Xiong et al., 2020).

    The sequence opens with a learned step, which is all that the state of an empty history reads. Positions are one
    learned number per head and distance, added to the logit (Raffel et al., 2020).

    Args:
      units: H, width of the state.
      blocks: how many.
      heads: of each; H is a multiple of it.
      widening: width of the pointwise network's hidden layer as a multiple of H.
      distances: steps back that are told apart; older ones count as the last of them.
      dropout: share of what a branch adds that is left out in training.
    """

    def __init__(
        self,
        units: int,
        blocks: int = 2,
        heads: int = 2,
        widening: int = 2,
        distances: int = 200,
        dropout: float = 0.2,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if units % heads:
            raise ValueError(f"expected units that are a multiple of heads, got {units} and {heads}.")
        self.units, self.heads, self.widening = units, heads, widening
        self.distances, self.dropout = distances, dropout
        keras, policy = tf.keras.layers, self.dtype_policy
        self.project = keras.Dense(units, name="project", dtype=policy)
        self.blocks = [
            _Block(units, heads, widening, dropout, _SITE + 2 * i, name=f"block_{i}", dtype=policy)
            for i in range(blocks)
        ]

    def build(self, input_shape):
        """Makes the first step [H] and the numbers of the distances [blocks, distances, heads]."""
        self.start = self.add_weight("start", (self.units,), initializer=tf.keras.initializers.RandomNormal(stddev=0.5))
        self.distance = self.add_weight(
            "distance",
            (len(self.blocks), self.distances, self.heads),
            tf.float32,
            "zeros",
            experimental_autocast=False,
        )
        super().build(input_shape)

    def call(self, inputs, noise=QUIET):
        """Runs over the steps; padding belongs at the end, where it changes no earlier state.

        Args:
          inputs: [B, T, I].
          noise: draws dropout.

        Returns:
          [B, T+1, H] float32: position t is the state after t steps.
        """
        steps = self.project(tf.cast(inputs, self.compute_dtype))  # [B, T, H]
        start = tf.tile(tf.cast(self.start, steps.dtype)[None, None], (tf.shape(inputs)[0], 1, 1))
        states = tf.cast(tf.concat([start, steps], axis=1), tf.float32)  # [B, T+1, H]
        place = tf.range(tf.shape(states)[1])
        back = place[:, None] - place[None, :]  # [T+1, T+1] how many steps before the state
        known = tf.gather(self.distance, tf.clip_by_value(back, 0, self.distances - 1), axis=1)
        known = tf.where((back >= 0)[..., None], known, _HIDDEN)  # [blocks, T+1, T+1, heads]
        for bias, block in zip(tf.unstack(tf.transpose(known, (0, 3, 1, 2))), self.blocks, strict=True):
            states = block(states, bias, noise)
        return states

    def get_config(self):
        """Arguments of the constructor."""
        names = ("units", "heads", "widening", "distances", "dropout")
        return {**super().get_config(), **{n: getattr(self, n) for n in names}, "blocks": len(self.blocks)}


class _Block(tf.keras.layers.Layer):
    """One round: every state reads the steps before it, then thinks for itself; both are added to what it was."""

    def __init__(self, units: int, heads: int, widening: int, dropout: float, site: int, **kwargs):
        super().__init__(autocast=False, **kwargs)  # the sum over the rounds stays float32
        self.units, self.heads, self.dropout, self.site = units, heads, dropout, site
        keras, policy = tf.keras.layers, self.dtype_policy
        self.read_norm = keras.LayerNormalization(name="read_norm", dtype=tf.float32)
        self.read = keras.Dense(3 * units, name="read", dtype=policy)
        self.join = keras.Dense(units, name="join", dtype=policy)
        self.think_norm = keras.LayerNormalization(name="think_norm", dtype=tf.float32)
        self.widen = keras.Dense(widening * units, "relu", name="widen", dtype=policy)
        self.narrow = keras.Dense(units, name="narrow", dtype=policy)

    def call(self, states, bias, noise):
        """[B, S, H] float32 states; bias [heads, S, S] is added to the logits."""
        read = self.join(self._attend(self.read(self._ready(self.read_norm(states))), bias))
        states += tf.cast(noise.drop(read, self.dropout, self.site), tf.float32)
        thought = self.narrow(self.widen(self._ready(self.think_norm(states))))
        return states + tf.cast(noise.drop(thought, self.dropout, self.site + 1), tf.float32)

    def _ready(self, values):
        return tf.cast(values, self.compute_dtype)

    def _attend(self, joined, bias):
        """[B, S, H] what the heads read, from queries, keys and values [B, S, 3H]."""
        shape, width = tf.shape(joined), self.units // self.heads
        split = tf.reshape(joined, tf.stack([shape[0], shape[1], 3, self.heads, width]))
        query, key, value = tf.unstack(tf.transpose(split, (2, 0, 3, 1, 4)), 3)  # [B, heads, S, width]
        logits = tf.cast(tf.matmul(query * width**-0.5, key, transpose_b=True), tf.float32)  # [B, heads, S, S]
        weights = tf.cast(tf.nn.softmax(logits + bias), value.dtype)
        return tf.reshape(
            tf.transpose(tf.matmul(weights, value), (0, 2, 1, 3)), tf.stack([shape[0], shape[1], self.units])
        )
