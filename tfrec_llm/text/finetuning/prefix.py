"""Prefix tuning: learnt keys and values in every attention (Li and Liang, 2021), behind a gate that starts shut.

The prefix has a softmax of its own, so that it takes no mass from the tokens, and is added times tanh(gate), gate 0 at
first (the zero-initialised attention of LLaMA-Adapter, Zhang et al., 2023): training starts at the base model.
"""

import math
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfrec_llm.config import setting
from tfrec_llm.text.encoders.encoder import TextEncoder
from tfrec_llm.text.finetuning.method import Finetuning


@dataclass(frozen=True)
class PrefixSettings:
    """Learnt keys and values in every block."""

    length: int = setting(16, "keys and values in each attention", low=1)
    learning_rate: float = setting(1e-2, "peak step size", low=1e-8, high=1)


class Prefix(tf.Module):
    """Queries -> what the prefix adds to the mixture of values.

    Args:
      heads: number of attention heads.
      size: width of a head.
      length: keys and values.
      draw: their first values.
    """

    def __init__(self, heads: int, size: int, length: int, draw: np.random.Generator):
        super().__init__(name="prefix")
        key, value = draw.normal(0, 1, (2, heads, length, size)).astype(np.float32)
        self.key, self.value = tf.Variable(key, name="key"), tf.Variable(value * 0.1, name="value")
        self.gate = tf.Variable(tf.zeros([heads, 1, 1]), name="gate")
        self._scale = 1 / math.sqrt(size)

    def __call__(self, query: tf.Tensor) -> tf.Tensor:
        """[B, heads, L, size] -> the same shape and type."""
        key, value = tf.cast(self.key, query.dtype), tf.cast(self.value * tf.tanh(self.gate), query.dtype)
        weights = tf.nn.softmax(tf.einsum("bhls,hps->bhlp", query * self._scale, key))
        return tf.einsum("bhlp,hps->bhls", weights, value)


def prefix(settings: PrefixSettings, encoder: TextEncoder, seed: int) -> Finetuning:
    """Gives every attention a prefix. It stays when serving."""
    draw, own, shape = np.random.default_rng(seed), tf.Module(name="prefix"), encoder.bert.shape
    size, own.prefixes = shape.hidden_size // shape.num_attention_heads, {}
    for number, block in enumerate(encoder.bert.blocks):
        block.prefix = own.prefixes[f"block_{number}"] = Prefix(shape.num_attention_heads, size, settings.length, draw)
    return Finetuning("prefix", encoder, own, settings.learning_rate)
