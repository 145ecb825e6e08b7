"""What all fusions share: each modality becomes a token, a missing one a learned token, and a dense layer ends it.

A fusion fills one hole: `join`, tokens of all modalities -> one vector.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfrec_llm.config import setting
from tfrec_llm.layers.norm import normalised
from tfrec_llm.types import Modalities


@dataclass(frozen=True)
class FusionSettings:
    """Settings of every fusion."""

    dim: int = setting(32, "C, width of the context", low=1)
    projection: int = setting(32, "P, width that each modality is projected to", low=1)
    modality_dropout: float = setting(0.1, "share of modalities taken for missing in training", low=0, high=0.9)
    dropout: float = setting(0.5, "share of joined values dropped in training", low=0, high=0.9)


class ModalityFusion(tf.keras.Model):
    """Modalities -> context [B, C] in float32. Fill `join`, and create its layers in the constructor.

    Args:
      settings: see `FusionSettings`.
      widths: modality name -> number of values; exactly these modalities must be given, present or not.
      seed: of the initial weights.
      name: of the Keras model.
    """

    def __init__(self, settings: FusionSettings, widths: Mapping[str, int], seed: int, name: str):
        super().__init__(name=name)
        self.dim, self.widths = settings.dim, dict(sorted(widths.items()))
        self._modality_dropout = settings.modality_dropout
        self.modalities = {
            name: Modality(width, settings.projection, seed + i) for i, (name, width) in enumerate(self.widths.items())
        }
        self.dropout = tf.keras.layers.Dropout(settings.dropout)
        self.normalise = tf.keras.layers.LayerNormalization(dtype="float32")
        init = tf.keras.initializers.GlorotUniform(seed + len(self.widths))
        self.to_context = tf.keras.layers.Dense(settings.dim, "tanh", kernel_initializer=init, dtype="float32")

    def join(self, tokens: tf.Tensor, present: tf.Tensor, training: bool) -> tf.Tensor:
        """Tokens [B, M, P] of the modalities by name, present [B, M] bool -> one vector [B, *]."""
        raise NotImplementedError(f"{type(self).__name__} must say how tokens are joined: fill `join`.")

    def adapt(self, modalities: Modalities) -> None:
        """Takes mean and spread of each modality's values from training rows, present ones only; builds the layers.

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
        tokens, flags = [], []
        for name, modality in self.modalities.items():
            values, present = modalities[name]
            if training and self._modality_dropout:
                present &= tf.random.uniform(tf.shape(present)) >= self._modality_dropout
            tokens.append(modality(values, present))
            flags.append(present)
        joined = self.join(tf.stack(tokens, axis=1), tf.stack(flags, axis=1), training)
        joined = self.dropout(joined, training=training)
        return self.to_context(normalised(self.normalise, tf.cast(joined, tf.float32)))


class Modality(tf.keras.layers.Layer):
    """One modality: projected, or a learned vector where it is missing.

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
        """[B, width] values and [B] bool -> [B, projection]."""
        standard = tf.clip_by_value((values - self.mean) * self.scale, -5, 5)
        return tf.where(present[:, None], self.project(standard), self.missing)


def flatten(tokens: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
    """Tokens [B, M, P] and flags [B, M] side by side: [B, M * (P + 1)]."""
    flagged = tf.concat([tokens, tf.cast(present, tokens.dtype)[..., None]], axis=-1)
    return tf.reshape(flagged, [-1, flagged.shape[1] * flagged.shape[2]])


def weights_of(scores: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
    """Softmax over the modalities that are there: scores [B, M] -> [B, M] in float32, all 0 where none is."""
    there = tf.cast(present, tf.float32)
    scores = tf.cast(scores, tf.float32)
    raised = tf.exp(scores - tf.reduce_max(scores, axis=-1, keepdims=True)) * there
    return tf.math.divide_no_nan(raised, tf.reduce_sum(raised, axis=-1, keepdims=True))
