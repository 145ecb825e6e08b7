"""A policy and its baseline: how likely each candidate is shown next, and what the situation is worth under that."""

from collections.abc import Mapping

import tensorflow as tf
from tf_agents.specs import bandit_spec_utils as keys

from tfrec_llm.ranking.agents.dqn import QNetwork
from tfrec_llm.ranking.agents.network import NEVER, REMAINING, CandidateNetwork
from tfrec_llm.ranking.agents.shape import AgentShape

Observation = Mapping[str, tf.Tensor]
LEAST = 1e-6  # propensities are taken to be at least so much


class PolicyNetwork(CandidateNetwork):
    """Log-odds of candidates, the blend's at first, and a critic that shares nothing with them but the statistics.

    The critic's value is a mean over candidates, weighted as the policy shows them, so it takes any number of them.

    Args:
      shape: the widths.
      hidden: width of each hidden layer.
    """

    def __init__(self, shape: AgentShape, hidden: int):
        super().__init__(shape, hidden, name="policy")
        self.critic = QNetwork(shape, hidden, self.inputs_layer, name="critic")

    def call(
        self, observation: Observation, step_type: tf.Tensor | None = None, network_state: tuple = ()
    ) -> tuple[tf.Tensor, tuple]:
        """Observation with "global" [B, C], "per_arm" [B, K, F] and perhaps "remaining" [B, K] -> [B, K] logits."""
        if not self.critic.built:
            self.critic.create_variables()
        logits = self.logits(observation[keys.GLOBAL_FEATURE_KEY], observation[keys.PER_ARM_FEATURE_KEY])
        if REMAINING in observation:
            logits = tf.where(observation[REMAINING], logits, NEVER)
        return logits, network_state

    def log_probabilities(self, observation: Observation) -> tf.Tensor:
        """[B, K] of being shown next."""
        return tf.nn.log_softmax(self(observation)[0])

    def value(self, observation: Observation) -> tf.Tensor:
        """[B] what the situation is worth; the policy learns nothing from it."""
        weights = tf.stop_gradient(tf.exp(self.log_probabilities(observation)))  # [B, K]
        return tf.reduce_sum(weights * self.critic(observation)[0], axis=1)


def of_actions(values: tf.Tensor, action: tf.Tensor) -> tf.Tensor:
    """[M, K] and positions [M] in K -> [M]."""
    return tf.gather(values, action, batch_dims=1)


def mean_of(values: tf.Tensor, filled: tf.Tensor) -> tf.Tensor:
    """Scalar mean of [M] over what is filled, [M] of 0 and 1; 0 where nothing is."""
    return tf.math.divide_no_nan(tf.reduce_sum(values * filled), tf.reduce_sum(filled))
