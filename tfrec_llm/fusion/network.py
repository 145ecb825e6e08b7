"""Network: a residual block of two dense layers over the concatenation."""

from collections.abc import Mapping
from dataclasses import dataclass

import tensorflow as tf

from tfrec_llm.config import setting
from tfrec_llm.fusion.modalities import FusionSettings, ModalityFusion, flatten


@dataclass(frozen=True)
class NetworkSettings(FusionSettings):
    """Settings of `Network`."""

    hidden: int = setting(64, "width of the hidden layer", low=1)


class Network(ModalityFusion):
    """See `ModalityFusion`."""

    def __init__(self, settings: NetworkSettings, widths: Mapping[str, int], seed: int = 0):
        super().__init__(settings, widths, seed, "network")
        init = [tf.keras.initializers.GlorotUniform(seed + len(widths) + 1 + i) for i in range(2)]
        width = len(widths) * (settings.projection + 1)
        self.before = tf.keras.layers.LayerNormalization(dtype="float32")
        self.inner = tf.keras.layers.Dense(settings.hidden, "gelu", kernel_initializer=init[0])
        self.outer = tf.keras.layers.Dense(width, kernel_initializer=init[1])

    def join(self, tokens: tf.Tensor, present: tf.Tensor, training: bool) -> tf.Tensor:
        """[B, M * (P + 1)]."""
        flat = flatten(tokens, present)
        seen = tf.cast(self.before(tf.cast(flat, tf.float32)), flat.dtype)
        return flat + self.outer(self.dropout(self.inner(seen), training=training))
