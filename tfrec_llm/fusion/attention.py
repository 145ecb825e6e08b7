"""Softmax: additive attention over the modalities (Bahdanau et al., 2015), whose weights depend on what they hold."""

from collections.abc import Mapping
from dataclasses import dataclass

import tensorflow as tf

from tfrec_llm.config import setting
from tfrec_llm.fusion.modalities import FusionSettings, ModalityFusion, weights_of


@dataclass(frozen=True)
class SoftmaxSettings(FusionSettings):
    """Settings of `Softmax`."""

    hidden: int = setting(32, "width of the layer that scores a modality", low=1)


class Softmax(ModalityFusion):
    """Modalities are weighed by what all of them hold: a score is v · tanh(W token + U mean of the tokens + name)."""

    def __init__(self, settings: SoftmaxSettings, widths: Mapping[str, int], seed: int = 0):
        super().__init__(settings, widths, seed, "softmax")
        init = [tf.keras.initializers.GlorotUniform(seed + len(widths) + 1 + i) for i in range(3)]
        self.own = tf.keras.layers.Dense(settings.hidden, kernel_initializer=init[0])
        self.others = tf.keras.layers.Dense(settings.hidden, use_bias=False, kernel_initializer=init[1])
        self.named = self.add_weight("named", [len(widths), settings.hidden], initializer="zeros")
        self.score = tf.keras.layers.Dense(1, use_bias=False, kernel_initializer=init[2])

    def join(self, tokens: tf.Tensor, present: tf.Tensor, training: bool) -> tf.Tensor:
        """[B, P + M]: the weighted sum, and which modalities are there."""
        del training
        together = self.others(tf.reduce_mean(tokens, axis=1))[:, None]  # [B, 1, hidden]
        scores = self.score(tf.tanh(self.own(tokens) + together + tf.cast(self.named, tokens.dtype)))[..., 0]
        weights = tf.cast(weights_of(scores, present), tokens.dtype)  # [B, M]
        attended = tf.einsum("bm,bmp->bp", weights, tokens)
        return tf.concat([attended, tf.cast(present, tokens.dtype)], axis=-1)
