"""Behaviour cloning: learns to show what a log shows, whatever came of it (Pomerleau, 1989).

It needs no rewards and no propensities: a start for other agents, and the measure that an agent learnt from the same
log should beat.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import tensorflow as tf
from tf_agents.agents.behavioral_cloning.behavioral_cloning_agent import BehavioralCloningAgent
from tf_agents.specs import bandit_spec_utils as keys
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import time_step, trajectory

from tfrec_llm.config import setting
from tfrec_llm.ranking.agents.experience import decisions, specs
from tfrec_llm.ranking.agents.network import NEVER, REMAINING, CandidateNetwork
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.ranking.agents.softmax_agent import SoftmaxAgent
from tfrec_llm.types import SlateFeedback


@dataclass(frozen=True)
class BehaviourCloningSettings:
    """Settings of `BehaviourCloning`."""

    hidden: int = setting(32, "width of the residual's hidden layer", low=1)
    learning_rate: float = setting(3e-3, "step size", low=1e-8, high=10)
    temperature: float = setting(
        1.0, "1 shows items as often as the log; lower, more often what it showed most", low=1e-6
    )
    gradient_norm: float = setting(1.0, "gradients are clipped to this norm", low=1e-6)


class ChoiceNetwork(CandidateNetwork):
    """Logits of being shown next, in place of rewards; what is not left has none."""

    def call(
        self, observation: Mapping[str, tf.Tensor], step_type: tf.Tensor | None = None, network_state: tuple = ()
    ) -> tuple[tf.Tensor, tuple]:
        """Observation with "global" [B, C], "per_arm" [B, K, F] and perhaps "remaining" [B, K] -> [B, K] logits."""
        logits = self.logits(observation[keys.GLOBAL_FEATURE_KEY], observation[keys.PER_ARM_FEATURE_KEY])
        if REMAINING in observation:
            logits = tf.where(observation[REMAINING], logits, NEVER)
        return logits, network_state


class BehaviourCloning(SoftmaxAgent):
    """Shows items as often as the log did in like situations.

    Args:
      settings: see `BehaviourCloningSettings`.
      shape: what it is built for.
    """

    from_logs = True

    def __init__(self, settings: BehaviourCloningSettings, shape: AgentShape):
        super().__init__("behaviour_cloning", shape, ChoiceNetwork(shape, settings.hidden), settings.temperature)
        learner = self._learner(settings)
        self._learn = lambda experience, weights: learner.train(experience, weights).loss  # kept out of exports

    @tf.autograph.experimental.do_not_convert
    def train(self, feedback: SlateFeedback) -> tf.Tensor:
        """One step on what was shown: in each slot, the item against all that was left.

        Args:
          feedback: [R, n] slates; position -1 = the slot was empty.

        Returns:
          Scalar loss before the step: mean negative log-likelihood of what was shown.
        """
        observation, action, filled = decisions(feedback)
        nothing = tf.zeros_like(filled)
        experience = trajectory.single_step(observation, action, (), nothing, nothing)
        return self._learn(experience, tf.math.divide_no_nan(filled, tf.reduce_mean(filled)))

    def _learner(self, settings: BehaviourCloningSettings) -> BehavioralCloningAgent:
        """TF-Agents' agent around the network."""
        shape = self.shape
        steps, action = specs(shape.context_dim, shape.feature_dim, shape.num_candidates)
        remaining = tensor_spec.TensorSpec([shape.num_candidates], tf.bool)
        return BehavioralCloningAgent(
            time_step.time_step_spec({**steps.observation, REMAINING: remaining}),
            action,
            self.network,
            tf.keras.optimizers.legacy.Adam(settings.learning_rate),
            gradient_clipping=settings.gradient_norm,
            train_step_counter=tf.Variable(0, dtype=tf.int64, trainable=False),
        )
