"""Concatenation: the tokens side by side, with flags that say which are there."""

from collections.abc import Mapping
from dataclasses import dataclass

import tensorflow as tf

from tfrec_llm.fusion.modalities import FusionSettings, ModalityFusion, flatten


@dataclass(frozen=True)
class ConcatenationSettings(FusionSettings):
    """Settings of `Concatenation`."""


class Concatenation(ModalityFusion):
    """See `ModalityFusion`."""

    def __init__(self, settings: ConcatenationSettings, widths: Mapping[str, int], seed: int = 0):
        super().__init__(settings, widths, seed, "concatenation")

    def join(self, tokens: tf.Tensor, present: tf.Tensor, training: bool) -> tf.Tensor:
        """[B, M * (P + 1)]."""
        del training
        return flatten(tokens, present)
