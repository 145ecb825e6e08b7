"""Conservative Q-learning: values learnt from a log alone, low wherever the log has not looked (Kumar et al., 2020).

TF-Agents has it for continuous actions only (`CqlSacAgent`): this is its `DdqnAgent` with the discrete penalty CQL(H)
beside the temporal difference. Values are learnt from one decision to the next, because the log's own later choices are
not the ones that the agent would make.
"""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tf_agents.agents.dqn.dqn_agent import DdqnAgent
from tf_agents.agents.tf_agent import LossInfo
from tf_agents.trajectories import trajectory

from tfrec_llm.config import setting
from tfrec_llm.ranking.agents.dqn import Dqn
from tfrec_llm.ranking.agents.experience import masked_specs, pairs
from tfrec_llm.ranking.agents.network import NEVER
from tfrec_llm.ranking.agents.shape import AgentShape


@dataclass(frozen=True)
class CqlSettings:
    """Settings of `Cql`."""

    hidden: int = setting(64, "width of the residual's hidden layer", low=1)
    learning_rate: float = setting(1e-2, "step size", low=1e-8, high=10)
    discount: float = setting(0.95, "what a reward of the next decision is worth now", low=0, high=0.999)
    conservatism: float = setting(0.05, "weight of the penalty on values of what the log does not show", low=0)
    temperature: float = setting(0.1, "a sum of rewards so much higher is e times as likely in the penalty", low=1e-6)
    decisions: int = setting(4, "of a user, one after the other, that it reads at a time", low=2)
    target_rate: float = setting(0.05, "how far the target network moves in a step", low=1e-4, high=1)
    epsilon: float = setting(0.02, "share of uniform exploration over all candidates", low=0, high=1)
    gradient_norm: float = setting(1.0, "gradients are clipped to this norm", low=1e-6)

    @property
    def n_step(self) -> int:
        """Decisions whose rewards are summed: the later ones are not those that the agent would make."""
        return 1


def conservative_penalty(values: tf.Tensor, remaining: tf.Tensor, action: tf.Tensor, temperature: float) -> tf.Tensor:
    """How much higher the best values are than that of what the log shows: equation 4 of the paper.

    Args:
      values: [M, K].
      remaining: [M, K] bool, what could have been shown.
      action: [M] positions of what was.
      temperature: of the soft maximum.

    Returns:
      [M] soft maximum over what remained, less the value of what was shown; not negative.
    """
    logits = tf.where(remaining, values, NEVER) / temperature
    best = temperature * tf.reduce_logsumexp(logits, axis=-1)
    return best - tf.gather(values, action, batch_dims=1)


class CqlAgent(DdqnAgent):
    """Double Q-learning with the conservative penalty.

    Args:
      *args: of `DdqnAgent`.
      conservatism: weight of the penalty.
      temperature: see `conservative_penalty`.
      **kwargs: of `DdqnAgent`.
    """

    def __init__(self, *args, conservatism: float, temperature: float, **kwargs):
        super().__init__(*args, **kwargs)
        self._conservatism, self._temperature = conservatism, temperature

    def _loss(self, experience: Any, *args, weights: tf.Tensor | None = None, **kwargs) -> LossInfo:
        """The temporal difference's loss plus the penalty."""
        learnt = super()._loss(experience, *args, weights=weights, **kwargs)
        steps, shown, _ = self._as_transition(experience)
        seen, remaining = self._observation_and_action_constraint_splitter(steps.observation)
        values, _ = self._q_network(seen, step_type=steps.step_type, training=kwargs.get("training", False))
        temperature = self._temperature * self._reward_scale_factor
        penalty = conservative_penalty(values, remaining, shown.action, temperature)
        penalty *= tf.cast(~steps.is_last(), tf.float32) * (1.0 if weights is None else weights)
        weight = self._conservatism * self._reward_scale_factor  # as if rewards were not scaled
        return learnt._replace(loss=learnt.loss + weight * tf.reduce_mean(penalty))


class Cql(Dqn):
    """Shows what is worth most in the long run among what a log has tried.

    Args:
      settings: see `CqlSettings`.
      shape: what it is built for.
    """

    from_logs = True

    def __init__(self, settings: CqlSettings, shape: AgentShape):
        super().__init__(settings, shape, name="cql")
        self.n_step = settings.decisions - 1  # of the parts of sessions; what it sums is one reward

    @tf.autograph.experimental.do_not_convert
    def train_sessions(self, steps: trajectory.Trajectory) -> tf.Tensor:
        """One step on parts of sessions, from each decision to the next.

        Args:
          steps: [B, T] logged decisions one after the other, observations as `experience.observe` makes them.

        Returns:
          Scalar loss before the step.
        """
        return self._learn(pairs(steps))

    def _learner(self, settings: CqlSettings) -> CqlAgent:
        """Our agent around the network and a second one that follows it."""
        conservative = {"conservatism": settings.conservatism, "temperature": settings.temperature}
        return CqlAgent(*masked_specs(*self.shape[:3]), self.network, **self._parts(settings), **conservative)
