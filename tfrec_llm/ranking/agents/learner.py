"""Agents of ours in TF-Agents' form: the optimiser's part is here, an agent fills the loss."""

from collections.abc import Callable, Mapping

import tensorflow as tf
import tensorflow_probability as tfp
from tf_agents.agents import tf_agent
from tf_agents.policies import tf_policy
from tf_agents.specs import bandit_spec_utils as keys
from tf_agents.specs import tensor_spec
from tf_agents.trajectories import TimeStep, policy_step, time_step_spec

from tfrec_llm.ranking.agents.experience import specs
from tfrec_llm.ranking.agents.network import NEVER, REMAINING, CandidateNetwork
from tfrec_llm.types import Candidates


class RulePolicy(tf_policy.TFPolicy):
    """What an agent shows first, as TF-Agents' drivers ask for it: its rule over what is left, by its scores.

    Args:
      steps: time step spec.
      action: action spec.
      agent: has `scores` and `rule`.
    """

    def __init__(self, steps: TimeStep, action: tensor_spec.BoundedTensorSpec, agent: tf.Module):
        super().__init__(steps, action)
        self._agent = agent

    def _distribution(self, time_step: TimeStep, policy_state: tuple) -> policy_step.PolicyStep:
        context, features, remaining = _parts(time_step.observation)
        candidates = Candidates(None, None, features, remaining)
        scores, rule = self._agent.scores(context, candidates), self._agent.rule(context, candidates)
        chances = rule.probabilities(scores, remaining)
        logits = tf.where(chances > 0, tf.math.log(tf.maximum(chances, 1e-30)), NEVER)
        return policy_step.PolicyStep(tfp.distributions.Categorical(logits=logits), policy_state)

    def _variables(self) -> list[tf.Variable]:
        return list(self._agent.network.variables)


class Learner(tf_agent.TFAgent):
    """Some steps of Adam on one batch, which a loss judges.

    Args:
      agent: with `shape`, `network`, `scores` and `rule`.
      network: whose weights are trained.
      loss: one batch, of whatever form `train` is given -> scalar.
      learning_rate: step size.
      gradient_norm: gradients are clipped to this norm.
      passes: steps on each batch.
      decay: after t steps, the step size is learning_rate / (1 + decay t).
    """

    def __init__(
        self,
        agent: tf.Module,
        network: CandidateNetwork,
        loss: Callable[[tuple], tf.Tensor],
        learning_rate: float,
        gradient_norm: float,
        passes: int = 1,
        decay: float = 0.0,
    ):
        shape = agent.shape
        steps, action = specs(shape.context_dim, shape.feature_dim, shape.num_candidates)
        remaining = tensor_spec.TensorSpec([shape.num_candidates], tf.bool)
        steps = time_step_spec({**steps.observation, REMAINING: remaining})
        policy = RulePolicy(steps, action, agent)
        counter = tf.Variable(0, dtype=tf.int64, trainable=False)
        super().__init__(steps, action, policy, policy, None, train_step_counter=counter)
        self._network, self._judge, self._norm, self._passes = network, loss, gradient_norm, passes
        falling = tf.keras.optimizers.schedules.InverseTimeDecay(learning_rate, 1, decay)
        self._optimizer = tf.keras.optimizers.legacy.Adam(falling)

    def _loss(self, experience: tuple, weights: tf.Tensor | None = None, training: bool = False) -> tf_agent.LossInfo:
        del weights, training
        return tf_agent.LossInfo(self._judge(experience), ())

    def _train(self, experience: tuple, weights: tf.Tensor | None = None) -> tf_agent.LossInfo:
        variables, losses = self._network.trainable_variables, []
        for _ in range(self._passes):
            with tf.GradientTape() as tape:
                loss = self._loss(experience, weights).loss
            gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, variables), self._norm)
            with tf.control_dependencies([loss]):
                self._optimizer.apply_gradients(zip(gradients, variables, strict=True))
            losses.append(loss)
        self.train_step_counter.assign_add(1)
        return tf_agent.LossInfo(losses[0], ())


def _parts(observation: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    return observation[keys.GLOBAL_FEATURE_KEY], observation[keys.PER_ARM_FEATURE_KEY], observation[REMAINING]
