"""Layer: low-rank multimodal fusion, products of all modalities without the tensor they span (Liu et al., 2018)."""

from collections.abc import Mapping
from dataclasses import dataclass

import tensorflow as tf

from tfrec_llm.config import setting
from tfrec_llm.fusion.modalities import FusionSettings, ModalityFusion


@dataclass(frozen=True)
class LowRankSettings(FusionSettings):
    """Settings of `LowRank`."""

    rank: int = setting(4, "products that are summed", low=1)


class LowRank(ModalityFusion):
    """Sum over ranks of the products over modalities of their factors, which start around one.

    A factor is 1 + W token, so that a product holds every modality alone, every pair, and so on to all of them; a
    missing modality has the factor one: it changes nothing.
    """

    def __init__(self, settings: LowRankSettings, widths: Mapping[str, int], seed: int = 0):
        super().__init__(settings, widths, seed, "layer")
        shape = [len(widths), settings.projection, settings.rank * settings.projection]
        self._rank, self._projection = settings.rank, settings.projection
        init = tf.keras.initializers.RandomNormal(stddev=0.3 / settings.projection**0.5, seed=seed + len(widths) + 1)
        self.factors = self.add_weight("factors", shape, initializer=init)
        self.rank_weights = self.add_weight("rank_weights", [settings.rank], initializer="ones")

    def join(self, tokens: tf.Tensor, present: tf.Tensor, training: bool) -> tf.Tensor:
        """[B, P + M]: the fused vector, and which modalities are there."""
        del training
        there = tf.cast(present, tokens.dtype)
        linear = tf.einsum("bmp,mpq->bmq", tokens, tf.cast(self.factors, tokens.dtype)) * there[..., None]
        product = tf.reduce_prod(1 + tf.tanh(linear), axis=1)  # [B, rank * P]; tanh keeps it from running away
        ranks = tf.reshape(product, [-1, self._rank, self._projection])
        fused = tf.einsum("brp,r->bp", ranks, tf.cast(self.rank_weights, tokens.dtype))
        return tf.concat([fused, there], axis=-1)
