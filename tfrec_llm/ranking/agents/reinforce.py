"""REINFORCE with the top-K off-policy correction (Chen et al., 2019, after Williams, 1992).

It learns from what any policy showed: the logged propensity says how much more likely this one is to show it, up to a
cap. A slate of K need only hold an item somewhere, so an item that is likely anyhow is not pushed further: the weight
of one shown with probability p is K (1 - p)^(K - 1).
"""

from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf
from tf_agents.trajectories import trajectory
from tf_agents.utils import value_ops

from tfrec_llm.config import setting
from tfrec_llm.ranking.agents.experience import by_slot, decisions, slates_of
from tfrec_llm.ranking.agents.learner import Learner
from tfrec_llm.ranking.agents.policy_network import LEAST, Observation, PolicyNetwork, mean_of, of_actions
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.ranking.agents.softmax_agent import SoftmaxAgent
from tfrec_llm.types import SlateFeedback


@dataclass(frozen=True)
class ReinforceSettings:
    """Settings of `Reinforce`."""

    hidden: int = setting(64, "width of the hidden layers of policy and baseline", low=1)
    learning_rate: float = setting(1e-2, "step size", low=1e-8, high=10)
    decay: float = setting(0.02, "after t batches, the step size is learning_rate / (1 + passes decay t)", low=0)
    discount: float = setting(0.9, "what a reward of the next decision is worth now", low=0, high=0.999)
    horizon: int = setting(12, "decisions at least whose rewards a return sums", low=1)
    learnt: int = setting(12, "decisions of a user that are learnt from at once, before those", low=1)
    top_k: int = setting(0, "K of the correction; 0 = as many as the slates that it learns from hold", low=0)
    weight_cap: float = setting(5.0, "highest ratio of this policy's probability to the logged one", low=1)
    passes: int = setting(2, "steps on each batch; after the first, the batch is another policy's", low=1)
    entropy: float = setting(0.001, "what a nat of entropy is worth, in standard deviations of the return", low=0)
    baseline: float = setting(10.0, "weight of the baseline's loss", low=0)
    gradient_norm: float = setting(1.0, "gradients are clipped to this norm", low=1e-6)


class Returned(NamedTuple):
    """Decisions and what followed: M of them."""

    observation: Observation
    action: tf.Tensor  # [M] positions in K
    filled: tf.Tensor  # [M] 0 where nothing was shown
    propensity: tf.Tensor  # [M] of whoever showed it
    returns: tf.Tensor  # [M]


class Reinforce(SoftmaxAgent):
    """Shows by a softmax of learnt logits, which follow the returns of whatever was shown.

    Args:
      settings: see `ReinforceSettings`.
      shape: what it is built for.
    """

    def __init__(self, settings: ReinforceSettings, shape: AgentShape):
        super().__init__("reinforce", shape, PolicyNetwork(shape, settings.hidden))
        self.n_step, self._own = settings.learnt + settings.horizon - 1, settings
        learner = Learner(
            self, self.network, self._loss, settings.learning_rate, settings.gradient_norm,
            settings.passes, settings.decay,
        )  # fmt: skip
        self._learn = lambda experience: learner.train(experience).loss  # kept out of exports

    @tf.autograph.experimental.do_not_convert
    def train(self, feedback: SlateFeedback) -> tf.Tensor:
        """Some steps on slates, each slot a decision of its own after which nothing comes.

        Args:
          feedback: [R, n] slates of any policy; position -1 = the slot was empty.

        Returns:
          Scalar loss before the steps.
        """
        return self._learn(self._returned(feedback, tf.reshape(feedback.rewards, [-1])))

    @tf.autograph.experimental.do_not_convert
    def train_sessions(self, steps: trajectory.Trajectory) -> tf.Tensor:
        """Some steps on parts of sessions.

        Args:
          steps: [B, learnt + horizon] decisions one after the other; the last ones only say what came of the first.

        Returns:
          Scalar loss before the steps.
        """
        discount = self._own.discount
        returns = value_ops.discounted_return(
            (1 - discount) * steps.reward, discount * steps.discount, time_major=False
        )  # fmt: skip
        slates = slates_of(tf.nest.map_structure(lambda part: part[:, : self._own.learnt], steps))
        return self._learn(self._returned(slates, by_slot(returns[:, : self._own.learnt], slates)))

    def _returned(self, feedback: SlateFeedback, returns: tf.Tensor) -> tuple[Returned, tf.Tensor]:
        """The slots as decisions, and K."""
        observation, action, filled = decisions(feedback)
        propensity = tf.maximum(tf.reshape(feedback.propensities, [-1]), LEAST)
        top_k = tf.cast(self._own.top_k or tf.shape(feedback.slate)[1], tf.float32)
        return Returned(observation, action, filled, propensity, returns), top_k

    def _loss(self, experience: tuple[Returned, tf.Tensor]) -> tf.Tensor:
        """The corrected policy loss, the baseline's squares, and what entropy is worth."""
        batch, top_k = experience
        log_probabilities = self.network.log_probabilities(batch.observation)  # [M, K]
        value = self.network.value(batch.observation)
        advantage = tf.stop_gradient(batch.returns - value)
        scale = tf.sqrt(mean_of(tf.square(advantage), batch.filled))
        chance = tf.exp(of_actions(log_probabilities, batch.action))
        gained = corrected(chance, batch.propensity, top_k, self._own.weight_cap) * advantage
        entropy = -tf.reduce_sum(tf.exp(log_probabilities) * log_probabilities, axis=1)
        errors = tf.square(value - batch.returns)
        policy = tf.math.divide_no_nan(gained, scale) + self._own.entropy * entropy
        return mean_of(self._own.baseline * errors - policy, batch.filled)


def corrected(chance: tf.Tensor, propensity: tf.Tensor, top_k: tf.Tensor, cap: float) -> tf.Tensor:
    """How much an item's return counts.

    Its gradient is min(p / q, cap) K (1 - p)^(K - 1) times that of log p, as in the paper, for a probability p of this
    policy and q of the logged one; where the cap does not hold, it is the gradient of (1 - (1 - p)^K) / q.

    Args:
      chance: [M] p.
      propensity: [M] q.
      top_k: scalar K.
      cap: of the ratio.

    Returns:
      [M], min(p / q, cap) in value.
    """
    ratio = tf.stop_gradient(tf.minimum(chance / propensity, cap))
    weight = tf.stop_gradient(top_k * (1 - chance) ** (top_k - 1))
    logarithm = tf.math.log(tf.maximum(chance, 1e-30))
    return ratio * (1 + weight * (logarithm - tf.stop_gradient(logarithm)))
