"""The fusions by name."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfrec_llm.config import Component, choose
from tfrec_llm.fusion.attention import Softmax, SoftmaxSettings
from tfrec_llm.fusion.concatenation import Concatenation, ConcatenationSettings
from tfrec_llm.fusion.low_rank import LowRank, LowRankSettings
from tfrec_llm.fusion.network import Network, NetworkSettings
from tfrec_llm.fusion.perceiver import Perceiver, PerceiverSettings
from tfrec_llm.fusion.weighted_average import WeightedAverage, WeightedAverageSettings

FUSIONS: Mapping[str, tuple[type, Any]] = {
    "concatenation": (ConcatenationSettings, Concatenation),
    "weighted_average": (WeightedAverageSettings, WeightedAverage),
    "softmax": (SoftmaxSettings, Softmax),
    "network": (NetworkSettings, Network),
    "layer": (LowRankSettings, LowRank),
    "perceiver": (PerceiverSettings, Perceiver),
}


def build_fusion(component: Component, widths: Mapping[str, int], seed: int = 0) -> tf.keras.Model:
    """An untrained fusion: a Keras model with `dim`, `widths`, `adapt` and `call(modalities) -> [B, C]`.

    Args:
      component: `fusion.layer` of the config.
      widths: modality name -> number of values.
      seed: of the initial weights.

    Raises:
      ConfigError: no such fusion, or settings that do not fit it.
    """
    settings, builder = choose(FUSIONS, component, "fusion.layer")
    return builder(settings, widths, seed)
