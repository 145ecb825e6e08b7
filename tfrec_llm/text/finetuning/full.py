"""Nothing or everything: `frozen` trains no weight of the encoder, `full` those of its transformer blocks.

The embedding tables stay as they are in both: they are kept in small integers, and rare words would be the first to
drift away from the meaning that lets one language answer for another.
"""

from dataclasses import dataclass

import tensorflow as tf

from tfrec_llm.config import setting
from tfrec_llm.text.encoders.encoder import TextEncoder
from tfrec_llm.text.finetuning.method import Finetuning


@dataclass(frozen=True)
class FrozenSettings:
    """Nothing of the encoder is trained; texts are encoded once and kept."""


def frozen(settings: FrozenSettings, encoder: TextEncoder, seed: int) -> Finetuning:
    """Trains heads only."""
    return Finetuning("frozen", encoder, tf.Module(name="frozen"), 0.0)


@dataclass(frozen=True)
class FullSettings:
    """All weights of the transformer blocks."""

    learning_rate: float = setting(5e-5, "peak step size of the encoder's weights", low=1e-8, high=1)
    layers: int = setting(0, "so many blocks from the last are trained; 0 = all", low=0)


def full(settings: FullSettings, encoder: TextEncoder, seed: int) -> Finetuning:
    """Trains the encoder's blocks (Devlin et al., 2019)."""
    own = tf.Module(name="full")
    own.blocks = {f"block_{i}": block for i, block in enumerate(encoder.bert.blocks)}
    if settings.layers:
        own.blocks = dict(list(own.blocks.items())[-settings.layers :])
    return Finetuning("full", encoder, own, settings.learning_rate)
