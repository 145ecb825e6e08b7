"""Actor-critic: proximal policy optimisation over slates and sessions (Schulman et al., 2017).

Advantages are generalised (Schulman et al., 2016). What is shown under exploration or by another policy is weighted by
how likely this policy was to show it, as the propensities say, apart from the clipping, which is against the policy
that the step began with (Hilton et al., 2022); where the policy learns from its own draws, that weight is 1.
"""

from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf
from tf_agents.trajectories import trajectory
from tf_agents.utils import value_ops

from tfrec_llm.config import setting
from tfrec_llm.ranking.agents.experience import by_slot, decisions, flat, slates_of
from tfrec_llm.ranking.agents.learner import Learner
from tfrec_llm.ranking.agents.policy_network import LEAST, Observation, PolicyNetwork, mean_of, of_actions
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.ranking.agents.softmax_agent import SoftmaxAgent
from tfrec_llm.types import SlateFeedback


@dataclass(frozen=True)
class ActorCriticSettings:
    """Settings of `ActorCritic`."""

    hidden: int = setting(64, "width of the hidden layers of policy and critic", low=1)
    learning_rate: float = setting(1e-2, "step size", low=1e-8, high=10)
    decay: float = setting(0.02, "after t batches, the step size is learning_rate / (1 + passes decay t)", low=0)
    discount: float = setting(0.95, "what a reward of the next decision is worth now", low=0, high=0.999)
    trace: float = setting(0.9, "lambda of the advantages: 0 trusts the critic, 1 the rewards", low=0, high=1)
    n_step: int = setting(7, "decisions of a user that are learnt from at once", low=1)
    clip: float = setting(0.2, "how far a probability's ratio to the old one is followed from 1", low=1e-3, high=1)
    weight_cap: float = setting(5.0, "highest weight of what another policy showed", low=1)
    passes: int = setting(2, "steps on each batch", low=1)
    entropy: float = setting(0.001, "what a nat of entropy is worth, in standard deviations of the advantage", low=0)
    critic: float = setting(10.0, "weight of the critic's loss", low=0)
    gradient_norm: float = setting(1.0, "gradients are clipped to this norm", low=1e-6)


class Judged(NamedTuple):
    """Decisions and what the critic makes of them: M of them."""

    observation: Observation
    action: tf.Tensor  # [M] positions in K
    filled: tf.Tensor  # [M] 0 where nothing was shown
    old: tf.Tensor  # [M] log-probability when the step began
    weight: tf.Tensor  # [M] for what another policy showed
    advantage: tf.Tensor  # [M]
    value: tf.Tensor  # [M] what the critic should say


class ActorCritic(SoftmaxAgent):
    """Shows by a softmax of learnt logits, which move towards what turned out better than the critic thought.

    Args:
      settings: see `ActorCriticSettings`.
      shape: what it is built for.
    """

    def __init__(self, settings: ActorCriticSettings, shape: AgentShape):
        super().__init__("actor_critic", shape, PolicyNetwork(shape, settings.hidden))
        self.n_step, self._own = settings.n_step, settings
        learner = Learner(
            self, self.network, self._loss, settings.learning_rate, settings.gradient_norm,
            settings.passes, settings.decay,
        )  # fmt: skip
        self._learn = lambda experience: learner.train(experience).loss  # kept out of exports

    @tf.autograph.experimental.do_not_convert
    def train(self, feedback: SlateFeedback) -> tf.Tensor:
        """Some steps on slates, each slot a decision of its own after which nothing comes.

        Args:
          feedback: [R, n] slates; position -1 = the slot was empty.

        Returns:
          Scalar loss before the steps.
        """
        return self._learn(self._judged(feedback))

    @tf.autograph.experimental.do_not_convert
    def train_sessions(self, steps: trajectory.Trajectory) -> tf.Tensor:
        """Some steps on parts of sessions.

        Args:
          steps: [B, n_step + 1] decisions one after the other; the last only says how the others went on.

        Returns:
          Scalar loss before the steps.
        """
        discount, (users, length) = self._own.discount, tf.unstack(tf.shape(steps.reward))
        value = tf.reshape(self.network.value(flat(steps.observation)), [users, length])
        learnt = tf.nest.map_structure(lambda part: part[:, :-1], steps)
        advantage = value_ops.generalized_advantage_estimation(
            value[:, :-1], value[:, -1], discount * learnt.discount, (1 - discount) * learnt.reward,
            self._own.trace, time_major=False,
        )  # fmt: skip
        slates = slates_of(learnt)
        parts = (by_slot(part, slates) for part in (advantage, advantage + value[:, :-1]))
        return self._learn(self._judged(slates, *parts))

    def _judged(
        self, feedback: SlateFeedback, advantage: tf.Tensor | None = None, value: tf.Tensor | None = None
    ) -> Judged:
        """See `Judged`; without advantage and value, those of the slots' own rewards."""
        observation, action, filled = decisions(feedback)
        old = of_actions(self.network.log_probabilities(observation), action)
        if advantage is None:
            value = tf.reshape(feedback.rewards, [-1])
            advantage = value - self.network.value(observation)
        mean = mean_of(advantage, filled)
        deviation = tf.sqrt(mean_of(tf.square(advantage - mean), filled))
        propensity = tf.maximum(tf.reshape(feedback.propensities, [-1]), LEAST)
        weight = tf.minimum(tf.exp(old) / propensity, self._own.weight_cap)
        return Judged(
            observation, action, filled, old, weight, tf.math.divide_no_nan(advantage - mean, deviation), value
        )  # fmt: skip

    def _loss(self, batch: Judged) -> tf.Tensor:
        """Clipped policy loss, the critic's squares, and what entropy is worth."""
        log_probabilities = self.network.log_probabilities(batch.observation)  # [M, K]
        ratio = tf.exp(of_actions(log_probabilities, batch.action) - batch.old)
        gained = batch.weight * clipped(ratio, batch.advantage, self._own.clip)
        entropy = -tf.reduce_sum(tf.exp(log_probabilities) * log_probabilities, axis=1)
        errors = tf.square(self.network.value(batch.observation) - batch.value)
        return mean_of(self._own.critic * errors - gained - self._own.entropy * entropy, batch.filled)


def clipped(ratio: tf.Tensor, advantage: tf.Tensor, clip: float) -> tf.Tensor:
    """What is gained, as far as it is followed: [M] ratios of probabilities and [M] advantages -> [M]."""
    return tf.minimum(ratio * advantage, tf.clip_by_value(ratio, 1 - clip, 1 + clip) * advantage)
