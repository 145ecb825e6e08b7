"""DQN: double Q-learning with per-item features; what is shown now is worth its reward and what it leads to.

TF-Agents' `DdqnAgent` learns (van Hasselt et al., 2016; n-step returns after Sutton, 1988); its policy is not used: the
shared sampler fills slates, with propensities. From slates without a next situation it learns the reward alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tf_agents.agents.dqn.dqn_agent import DdqnAgent
from tf_agents.specs import bandit_spec_utils as keys
from tf_agents.trajectories import trajectory

from tfrec_llm.config import setting
from tfrec_llm.ranking.agents.experience import lone_transitions, masked_specs, split_mask
from tfrec_llm.ranking.agents.network import CandidateNetwork
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.ranking.exploration import EpsilonGreedy, Rule
from tfrec_llm.types import Candidates, SlateFeedback


@dataclass(frozen=True)
class DqnSettings:
    """Settings of `Dqn`."""

    hidden: int = setting(64, "width of the residual's hidden layer", low=1)
    learning_rate: float = setting(1e-2, "step size", low=1e-8, high=10)
    discount: float = setting(0.95, "what a reward of the next decision is worth now", low=0, high=0.999)
    n_step: int = setting(3, "decisions whose rewards are summed before the network is asked", low=1)
    target_rate: float = setting(0.05, "how far the target network moves in a step", low=1e-4, high=1)
    epsilon: float = setting(0.05, "share of uniform exploration over all candidates", low=0, high=1)
    gradient_norm: float = setting(1.0, "gradients are clipped to this norm", low=1e-6)


class QNetwork(CandidateNetwork):
    """Values of candidates: the blend's expected reward plus what is learnt."""

    def call(
        self, observation: Mapping[str, tf.Tensor], step_type: tf.Tensor | None = None, network_state: tuple = ()
    ) -> tuple[tf.Tensor, tuple]:
        """Observation with "global" [B, C] and "per_arm" [B, K, F] -> [B, K] values."""
        context, features = observation[keys.GLOBAL_FEATURE_KEY], observation[keys.PER_ARM_FEATURE_KEY]
        return self.inputs_layer.prior(features) + self.residual(context, features), network_state


class Dqn(tf.Module):
    """Shows what is worth most in the long run, or any with probability epsilon.

    Args:
      settings: see `DqnSettings`.
      shape: what it is built for.
      name: of the module.
    """

    from_logs = False

    def __init__(self, settings: Any, shape: AgentShape, name: str = "dqn"):
        super().__init__(name=name)
        self.shape, self.n_step, self._rule = shape, settings.n_step, EpsilonGreedy(settings.epsilon)
        self._discount = settings.discount
        self.network = QNetwork(shape, settings.hidden, name="values")
        self.network.create_variables()
        learner = self._learner(settings)
        self._learn = lambda experience, weights=None: learner.train(experience, weights).loss  # kept out of exports

    @tf.autograph.experimental.do_not_convert
    def scores(self, context: tf.Tensor, candidates: Candidates) -> tf.Tensor:
        """[B, C] and [B, K] candidates -> [B, K] values."""
        observation = {keys.GLOBAL_FEATURE_KEY: context, keys.PER_ARM_FEATURE_KEY: candidates.features}
        return self.network(observation)[0]

    def rule(self, context: tf.Tensor, candidates: Candidates) -> Rule:
        """Any candidate with probability epsilon."""
        del context, candidates
        return self._rule

    @tf.autograph.experimental.do_not_convert
    def train(self, feedback: SlateFeedback) -> tf.Tensor:
        """One step on slates, each slot a decision of its own after which nothing comes.

        Args:
          feedback: [R, n] slates; position -1 = the slot was empty.

        Returns:
          Scalar loss before the step: Huber loss of the values.
        """
        scaled = feedback._replace(rewards=feedback.rewards / (1 - self._discount))  # values are mean rewards
        return self._learn(*lone_transitions(scaled))

    @tf.autograph.experimental.do_not_convert
    def train_sessions(self, steps: trajectory.Trajectory) -> tf.Tensor:
        """One step on parts of sessions.

        Args:
          steps: [B, n_step + 1] decisions one after the other, observations as `experience.observe` makes them.

        Returns:
          Scalar loss before the step.
        """
        return self._learn(steps)

    def _learner(self, settings: DqnSettings) -> DdqnAgent:
        """TF-Agents' agent around the network and a second one that follows it."""
        return DdqnAgent(*masked_specs(*self.shape[:3]), self.network, **self._parts(settings))

    def _parts(self, settings: Any) -> dict[str, Any]:
        """What any double Q-learner of TF-Agents is made of, beside its network."""
        return {
            "optimizer": tf.keras.optimizers.legacy.Adam(settings.learning_rate),
            "observation_and_action_constraint_splitter": split_mask,
            "n_step_update": settings.n_step,
            "target_q_network": QNetwork(self.shape, settings.hidden, self.network.inputs_layer, name="target_values"),
            "target_update_tau": settings.target_rate,
            "gamma": settings.discount,
            "reward_scale_factor": 1 - settings.discount,  # values are mean rewards, as the prior is
            "gradient_clipping": settings.gradient_norm,
            "train_step_counter": tf.Variable(0, dtype=tf.int64, trainable=False),
        }
