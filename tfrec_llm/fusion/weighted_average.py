"""Weighted average: one learned weight for each modality, shared by all rows, over those that are there."""

from collections.abc import Mapping
from dataclasses import dataclass

import tensorflow as tf

from tfrec_llm.fusion.modalities import FusionSettings, ModalityFusion, weights_of


@dataclass(frozen=True)
class WeightedAverageSettings(FusionSettings):
    """Settings of `WeightedAverage`."""


class WeightedAverage(ModalityFusion):
    """See `ModalityFusion`."""

    def __init__(self, settings: WeightedAverageSettings, widths: Mapping[str, int], seed: int = 0):
        super().__init__(settings, widths, seed, "weighted_average")
        self.importance = self.add_weight("importance", [len(widths)], initializer="zeros")

    def join(self, tokens: tf.Tensor, present: tf.Tensor, training: bool) -> tf.Tensor:
        """[B, P + M]: the average, and which modalities are there."""
        del training
        scores = tf.broadcast_to(self.importance, tf.shape(present))
        weights = tf.cast(weights_of(scores, present), tokens.dtype)  # [B, M]
        average = tf.einsum("bm,bmp->bp", weights, tokens)
        return tf.concat([average, tf.cast(present, tokens.dtype)], axis=-1)
