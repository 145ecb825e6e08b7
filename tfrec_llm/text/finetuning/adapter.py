"""Adapters: small bottlenecks behind attention and feed-forward (Houlsby et al., 2019)."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfrec_llm.config import setting
from tfrec_llm.layers.noise import QUIET, Noise
from tfrec_llm.text.encoders.encoder import TextEncoder
from tfrec_llm.text.finetuning.method import Finetuning


@dataclass(frozen=True)
class AdapterSettings:
    """Bottlenecks in every block."""

    bottleneck: int = setting(16, "width of a bottleneck", low=1)
    learning_rate: float = setting(2e-3, "peak step size", low=1e-8, high=1)


class Bottleneck(tf.Module):
    """x -> gelu(x A + a) B + b; B and b start at zero.

    Args:
      width: D of the tokens.
      bottleneck: columns of A.
      draw: first values of A.
    """

    def __init__(self, width: int, bottleneck: int, draw: np.random.Generator):
        super().__init__(name="bottleneck")
        first = draw.normal(0, width**-0.5, (width, bottleneck)).astype(np.float32)
        self.down, self.down_bias = tf.Variable(first, name="down"), tf.Variable(tf.zeros(bottleneck), name="down_bias")
        self.up = tf.Variable(tf.zeros([bottleneck, width]), name="up")
        self.up_bias = tf.Variable(tf.zeros(width), name="up_bias")

    def __call__(self, x: tf.Tensor, noise: Noise = QUIET) -> tf.Tensor:
        """[R, D] -> [R, D] to be added, in the type of `x`."""
        inner = tf.nn.gelu(x @ tf.cast(self.down, x.dtype) + tf.cast(self.down_bias, x.dtype))
        return inner @ tf.cast(self.up, x.dtype) + tf.cast(self.up_bias, x.dtype)


def adapter(settings: AdapterSettings, encoder: TextEncoder, seed: int) -> Finetuning:
    """Puts two bottlenecks into every block. They are not linear, so they stay when serving."""
    draw, own = np.random.default_rng(seed), tf.Module(name="adapter")
    own.bottlenecks = {}
    for number, block in enumerate(encoder.bert.blocks):
        for place in ("after_mix", "after_shrink"):
            bottleneck = Bottleneck(encoder.dim, settings.bottleneck, draw)
            setattr(block, place, bottleneck)
            own.bottlenecks[f"block_{number}/{place}"] = bottleneck
    return Finetuning("adapter", encoder, own, settings.learning_rate)
