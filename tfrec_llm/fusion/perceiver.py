"""Perceiver: a few learned latents attend to the modalities' tokens, then to one another (Jaegle et al., 2021)."""

from collections.abc import Mapping
from dataclasses import dataclass

import tensorflow as tf

from tfrec_llm.config import setting
from tfrec_llm.fusion.modalities import FusionSettings, ModalityFusion


@dataclass(frozen=True)
class PerceiverSettings(FusionSettings):
    """Settings of `Perceiver`."""

    latents: int = setting(4, "L, how many", low=1)
    heads: int = setting(2, "of each attention", low=1)
    depth: int = setting(1, "blocks: attend to the tokens, then to one another", low=1)


class Perceiver(ModalityFusion):
    """The latents see the tokens that are there and one that always is, so that a row without any has a context."""

    def __init__(self, settings: PerceiverSettings, widths: Mapping[str, int], seed: int = 0):
        super().__init__(settings, widths, seed, "perceiver")
        width, first = settings.projection, seed + len(widths) + 1
        init = tf.keras.initializers.RandomNormal(stddev=0.5, seed=first)
        self.latents = self.add_weight("latents", [settings.latents, width], initializer=init)
        self.named = self.add_weight("named", [len(widths) + 1, width], initializer=init)
        self.blocks = [
            Block(width, settings.heads, settings.dropout / 2, first + 10 * (number + 1))
            for number in range(settings.depth)
        ]

    def join(self, tokens: tf.Tensor, present: tf.Tensor, training: bool) -> tf.Tensor:
        """[B, L * P]."""
        count = tf.shape(tokens)[0]
        tokens = tf.pad(tokens, [[0, 0], [0, 1], [0, 0]]) + tf.cast(self.named, tokens.dtype)  # [B, M + 1, P]
        seen = tf.pad(present, [[0, 0], [0, 1]], constant_values=True)[:, None, :]  # [B, 1, M + 1]
        latents = tf.tile(tf.cast(self.latents, tokens.dtype)[None], [count, 1, 1])
        for block in self.blocks:
            latents = block(latents, tokens, seen, training=training)
        return tf.reshape(latents, [-1, self.latents.shape[0] * self.latents.shape[1]])


class Block(tf.keras.layers.Layer):
    """Latents attend to tokens, then to one another; each with a residual and a normalisation before it."""

    def __init__(self, width: int, heads: int, dropout: float, seed: int):
        super().__init__()
        init = [tf.keras.initializers.GlorotUniform(seed + i) for i in range(3)]
        size = max(width // heads, 1)
        self.norms = [tf.keras.layers.LayerNormalization() for _ in range(3)]
        self.cross, self.inner = (
            tf.keras.layers.MultiHeadAttention(heads, size, dropout=dropout, kernel_initializer=i) for i in init[:2]
        )
        self.dense = tf.keras.layers.Dense(width, "gelu", kernel_initializer=init[2])

    def call(self, latents: tf.Tensor, tokens: tf.Tensor, seen: tf.Tensor, training: bool = False) -> tf.Tensor:
        """[B, L, P] latents, [B, M, P] tokens, [B, 1, M] bool -> [B, L, P]."""
        latents += self.cross(self.norms[0](latents), tokens, attention_mask=seen, training=training)
        normal = self.norms[1](latents)
        latents += self.inner(normal, normal, training=training)
        return latents + self.dense(self.norms[2](latents))
