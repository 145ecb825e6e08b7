"""The network that predicts the reward of each candidate: a prior from the blend, plus a residual that is learnt.

predicted reward = sigmoid(logit(value x blend probability) + residual(context, features)). They are added as log-odds,
so a prediction stays in (0, 1) as rewards do, and an unlikely candidate can be lifted as easily as a likely one. The
residual's last layer starts at zero: untrained, candidates are ranked exactly as the blend ranks them.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tf_agents.networks import network
from tf_agents.specs import bandit_spec_utils as keys

_TINY, _NEARLY_ONE = 1e-30, 1 - 1e-6  # keep log-odds finite


class AgentShape(NamedTuple):
    """What an agent is built for."""

    context_dim: int  # C
    feature_dim: int  # F
    num_candidates: int  # K at most
    prior: int = -1  # which feature is the blend probability; -1 = there is none
    seed: int = 0


class RewardNetwork(network.Network):
    """A TF-Agents network with per-arm features; takes any number of candidates.

    Args:
      shape: the widths.
      hidden: width of the hidden layer.
    """

    def __init__(self, shape: AgentShape, hidden: int):
        super().__init__(input_tensor_spec=None, state_spec=(), name="reward_network")
        self.shape = shape
        init = [tf.keras.initializers.GlorotUniform(shape.seed + i) for i in range(3)]
        self.product = tf.keras.layers.Dense(shape.feature_dim, use_bias=False, kernel_initializer=init[0])
        self.hidden_context = tf.keras.layers.Dense(hidden, kernel_initializer=init[1])
        self.hidden_features = tf.keras.layers.Dense(hidden, use_bias=False, kernel_initializer=init[2])
        self.residual = tf.keras.layers.Dense(1, kernel_initializer="zeros")

    def build(self, _):
        """Adds the statistics that inputs are normalised with; set by `adapt`."""
        for name, width in (("context", self.shape.context_dim), ("features", self.shape.feature_dim)):
            for part, initial in (("mean", "zeros"), ("scale", "ones")):
                weight = self.add_weight(f"{name}_{part}", [width], initializer=initial, trainable=False)
                setattr(self, f"{name}_{part}", weight)
        self.value = self.add_weight("value", [], initializer=tf.keras.initializers.Constant(0.5), trainable=False)
        self.built = True

    def create_variables(self, *_, **__):
        """Creates the variables with one candidate; TF-Agents calls it several times."""
        if not self.built:
            ones = {
                keys.GLOBAL_FEATURE_KEY: tf.zeros([1, self.shape.context_dim]),
                keys.PER_ARM_FEATURE_KEY: tf.zeros([1, 1, self.shape.feature_dim]),
            }
            self(ones)
        self._network_output_spec = tf.TensorSpec([None], tf.float32)
        return self._network_output_spec

    def adapt(self, context: np.ndarray, features: np.ndarray, value: float) -> None:
        """Sets the statistics of the inputs.

        Args:
          context: [R, C] of training rows.
          features: [*, F] of allowed candidates of training rows.
          value: what the next event is worth on average, in (0, 1].
        """
        for name, sample in (("context", context), ("features", features)):
            getattr(self, f"{name}_mean").assign(sample.mean(axis=0))
            getattr(self, f"{name}_scale").assign(1 / np.maximum(sample.std(axis=0), 1e-3))
        self.value.assign(value)

    def call(
        self, observation: Mapping[str, tf.Tensor], step_type: tf.Tensor | None = None, network_state: tuple = ()
    ) -> tuple[tf.Tensor, tuple]:
        """Predicts rewards.

        Args:
          observation: "global" [B, C] and "per_arm" [B, K, F].
          step_type: not looked at.
          network_state: handed back.

        Returns:
          [B, K] predicted rewards in (0, 1), and the state.
        """
        logits = self.logits(observation[keys.GLOBAL_FEATURE_KEY], observation[keys.PER_ARM_FEATURE_KEY])
        return tf.sigmoid(logits), network_state

    def logits(self, context: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """[B, C] and [B, K, F] -> [B, K] log-odds of the reward: the prior's and the residual."""
        return self._prior(features) + self.residual(self.hidden(context, features))[..., 0]

    def hidden(self, context: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """What the residual sees of each candidate.

        Args:
          context: [B, C].
          features: [B, K, F].

        Returns:
          [B, K, hidden].
        """
        c = tf.clip_by_value((context - self.context_mean) * self.context_scale, -5, 5)  # [B, C]
        f = tf.clip_by_value((features - self.features_mean) * self.features_scale, -5, 5)  # [B, K, F]
        joint = tf.concat([f, f * self.product(c)[:, None, :]], axis=-1)  # [B, K, 2F]
        return tf.nn.relu(self.hidden_context(c)[:, None, :] + self.hidden_features(joint))

    def _prior(self, features: tf.Tensor) -> tf.Tensor:
        """[B, K] log-odds of the reward before anything is learnt."""
        p = tf.clip_by_value(prior_reward(features, self.value, self.shape.prior), _TINY, _NEARLY_ONE)
        return tf.math.log(p) - tf.math.log1p(-p)


def prior_reward(features: tf.Tensor, value: tf.Tensor, prior: int) -> tf.Tensor:
    """What candidates are thought to bring before anything is learnt.

    Args:
      features: [B, K, F].
      value: what the next event is worth on average.
      prior: which feature is the blend's probability; -1 = there is none.

    Returns:
      [B, K] in [0, 1].
    """
    return value * (features[..., prior] if prior >= 0 else tf.ones_like(features[..., 0]))
