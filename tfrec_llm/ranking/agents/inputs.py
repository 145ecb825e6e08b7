"""What every agent's weights see: context and features, standardised, and the reward that the blend expects."""

import numpy as np
import tensorflow as tf

from tfrec_llm.ranking.agents.shape import AgentShape

_CLIP = 5.0  # standard deviations


class Inputs(tf.keras.layers.Layer):
    """Statistics of the inputs, set by `adapt`; two networks that must see the same share one.

    Args:
      shape: the widths, and which feature is the blend's probability.
    """

    def __init__(self, shape: AgentShape):
        super().__init__(name="inputs")
        self.shape = shape
        for name, width in (("context", shape.context_dim), ("features", shape.feature_dim)):
            for part, initial in (("mean", "zeros"), ("scale", "ones")):
                weight = self.add_weight(f"{name}_{part}", [width], initializer=initial, trainable=False)
                setattr(self, f"{name}_{part}", weight)
        half = tf.keras.initializers.Constant(0.5)
        self.value = self.add_weight("value", [], initializer=half, trainable=False)
        self.built = True

    def adapt(self, context: np.ndarray, features: np.ndarray, value: float) -> None:
        """Sets the statistics.

        Args:
          context: [R, C] of training rows.
          features: [*, F] of allowed candidates of training rows.
          value: what the next event is worth on average, in (0, 1].
        """
        for name, sample in (("context", context), ("features", features)):
            getattr(self, f"{name}_mean").assign(sample.mean(axis=0))
            getattr(self, f"{name}_scale").assign(1 / np.maximum(sample.std(axis=0), 1e-3))
        self.value.assign(value)

    def call(self, context: tf.Tensor, features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """[B, C] and [B, K, F], standardised and clipped."""
        c = (context - self.context_mean) * self.context_scale
        f = (features - self.features_mean) * self.features_scale
        return self.clip(c), self.clip(f)

    def clip(self, standardised: tf.Tensor) -> tf.Tensor:
        """What is far outside counts as the border."""
        return tf.clip_by_value(standardised, -_CLIP, _CLIP)

    def prior(self, features: tf.Tensor) -> tf.Tensor:
        """What candidates [B, K, F] are thought to bring before anything is learnt: [B, K] in [0, 1]."""
        prior = self.shape.prior
        return self.value * (features[..., prior] if prior >= 0 else tf.ones_like(features[..., 0]))
