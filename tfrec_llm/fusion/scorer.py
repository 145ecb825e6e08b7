"""The linear scorer that fusion is trained through and that is thrown away afterwards."""

import numpy as np
import tensorflow as tf

from tfrec_llm.types import Candidates, Modalities

_NEVER = -1e9


class ContextScorer(tf.keras.Model):
    """Scores candidates by blend score + weights · [context ⊗ features; features].

    A scorer that is linear in the plain concatenation [context; features] would not do: its context term is the same
    for every candidate of a row, the softmax over candidates removes it, and no gradient ever reaches the fusion. So
    the weights of the features depend, linearly, on the context. The blend score goes in as it is, so that training
    starts from the blend's order and only has to learn what the context adds to it.

    Args:
      fusion: modalities -> context [B, C].
      num_features: F.
      seed: of the initial weights.
    """

    def __init__(self, fusion: tf.keras.Model, num_features: int, seed: int = 0):
        super().__init__(name="context_scorer")
        self.fusion = fusion
        init = tf.keras.initializers.RandomNormal(stddev=0.05, seed=seed)
        self.product = self.add_weight("product", [fusion.dim, num_features], initializer=init)
        self.linear = self.add_weight("linear", [num_features], initializer="zeros")
        self.mean = self.add_weight("mean", [num_features], initializer="zeros", trainable=False)
        self.scale = self.add_weight("scale", [num_features], initializer="ones", trainable=False)

    def adapt(self, modalities: Modalities, candidates: Candidates) -> None:
        """Takes means and spreads from training rows, given as arrays."""
        self.fusion.adapt(modalities)
        features = np.asarray(candidates.features)[np.asarray(candidates.allowed)]  # [*, F]
        self.mean.assign(features.mean(axis=0))
        self.scale.assign(1 / np.maximum(features.std(axis=0), 1e-3))

    def call(self, inputs: tuple[Modalities, Candidates], training: bool = False) -> tf.Tensor:
        """Scores candidates.

        Args:
          inputs: modalities, and candidates [B, K].
          training: whether to drop modalities and values.

        Returns:
          [B, K] float32 logits, far below all others where a candidate is not allowed.
        """
        modalities, candidates = inputs
        context = self.fusion(modalities, training=training)  # [B, C]
        features = tf.cast(candidates.features, tf.float32) - tf.cast(self.mean, tf.float32)
        features = tf.clip_by_value(features * tf.cast(self.scale, tf.float32), -5, 5)  # [B, K, F]
        weights = tf.cast(self.linear, tf.float32) + context @ tf.cast(self.product, tf.float32)  # [B, F]
        scores = tf.where(candidates.allowed, tf.cast(candidates.scores, tf.float32), 0.0)
        return tf.where(candidates.allowed, scores + tf.linalg.matvec(features, weights), _NEVER)
