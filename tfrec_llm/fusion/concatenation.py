"""Concatenation: each modality is projected, a missing one is a learned vector, and a dense layer joins them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfrec_llm.config import setting
from tfrec_llm.types import Modalities


@dataclass(frozen=True)
class ConcatenationSettings:
    """Settings of `Concatenation`."""

    dim: int = setting(32, "C, width of the context", low=1)
    projection: int = setting(32, "width that each modality is projected to", low=1)
    modality_dropout: float = setting(0.1, "share of modalities taken for missing in training", low=0, high=0.9)
    dropout: float = setting(0.5, "share of projected values dropped in training", low=0, high=0.9)


class Concatenation(tf.keras.Model):
    """Modalities -> context [B, C] in float32.

    Args:
      settings: see `ConcatenationSettings`.
      widths: modality name -> number of values; exactly these modalities must be given, present or not.
      seed: of the initial weights.
    """

    def __init__(self, settings: ConcatenationSettings, widths: Mapping[str, int], seed: int = 0):
        super().__init__(name="concatenation")
        self.dim, self.widths = settings.dim, dict(sorted(widths.items()))
        self._modality_dropout = settings.modality_dropout
        self.modalities = {
            name: Modality(width, settings.projection, seed + i) for i, (name, width) in enumerate(self.widths.items())
        }
        self.dropout = tf.keras.layers.Dropout(settings.dropout)
        self.normalise = tf.keras.layers.LayerNormalization(dtype="float32")
        init = tf.keras.initializers.GlorotUniform(seed + len(self.widths))
        self.join = tf.keras.layers.Dense(settings.dim, "tanh", kernel_initializer=init, dtype="float32")

    def adapt(self, modalities: Modalities) -> None:
        """Takes mean and spread of each modality's values from training rows, present ones only; builds the layer.

        Args:
          modalities: name -> (values [R, *], present [R] bool) as arrays.
        """
        self({name: (tf.zeros([1, width]), tf.zeros([1], tf.bool)) for name, width in self.widths.items()})
        for name, modality in self.modalities.items():
            values, present = (np.asarray(part) for part in modalities[name])
            if present.any():
                modality.mean.assign(values[present].mean(axis=0))
                modality.scale.assign(1 / np.maximum(values[present].std(axis=0), 1e-3))

    def call(self, modalities: Modalities, training: bool = False) -> tf.Tensor:
        """Joins the modalities.

        Args:
          modalities: name -> (values [B, *], present [B] bool).
          training: whether to drop modalities and values.

        Returns:
          [B, C] float32 in [-1, 1].

        Raises:
          ValueError: other modalities than it was built for.
        """
        if set(modalities) != set(self.widths):
            raise ValueError(
                f"expected the modalities {', '.join(self.widths)}, got {', '.join(sorted(modalities))}: give every "
                "one, with present = False where it is missing, or train fusion on the new ones."
            )
        parts = []
        for name, modality in self.modalities.items():
            values, present = modalities[name]
            if training and self._modality_dropout:
                present &= tf.random.uniform(tf.shape(present)) >= self._modality_dropout
            parts.append(modality(values, present))
        joined = self.dropout(tf.concat(parts, axis=-1), training=training)  # [B, modalities * (projection + 1)]
        return self.join(self.normalise(tf.cast(joined, tf.float32)))


class Modality(tf.keras.layers.Layer):
    """One modality: projected, or a learned vector where it is missing, and a flag that says which.

    Args:
      width: number of values.
      projection: width that they are projected to.
      seed: of the initial weights.
    """

    def __init__(self, width: int, projection: int, seed: int):
        super().__init__()
        self._width, self._projection = width, projection
        self.project = tf.keras.layers.Dense(projection, kernel_initializer=tf.keras.initializers.GlorotUniform(seed))

    def build(self, _):
        """Adds the statistics of the values and the vector that stands for a missing modality."""
        self.mean = self.add_weight("mean", [self._width], initializer="zeros", trainable=False)
        self.scale = self.add_weight("scale", [self._width], initializer="ones", trainable=False)
        self.missing = self.add_weight("missing", [self._projection], initializer="zeros")
        self.built = True

    def call(self, values: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
        """[B, width] values and [B] bool -> [B, projection + 1]."""
        standard = tf.clip_by_value((values - self.mean) * self.scale, -5, 5)
        vector = tf.where(present[:, None], self.project(standard), self.missing)
        return tf.concat([vector, tf.cast(present, vector.dtype)[:, None]], axis=-1)
