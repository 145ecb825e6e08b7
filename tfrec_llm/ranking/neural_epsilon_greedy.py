"""Neural epsilon-greedy: TF-Agents' contextual bandit with per-item features.

TF-Agents does the learning (`NeuralEpsilonGreedyAgent.train` on a reward network of ours; XLA compiles it whole); its
policy and driver are not used: slates, the mask of allowed candidates and propensities are the shared sampler's, and
the driver's loop is slow.
"""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf
from tf_agents.bandits.agents.neural_epsilon_greedy_agent import NeuralEpsilonGreedyAgent
from tf_agents.policies.utils import PerArmPolicyInfo
from tf_agents.specs import bandit_spec_utils, tensor_spec
from tf_agents.trajectories import time_step, trajectory

from tfrec_llm.config import setting
from tfrec_llm.ranking.exploration import EpsilonGreedy
from tfrec_llm.ranking.network import AgentShape, RewardNetwork
from tfrec_llm.types import Candidates, SlateFeedback


@dataclass(frozen=True)
class NeuralEpsilonGreedySettings:
    """Settings of `NeuralEpsilonGreedy`."""

    hidden: int = setting(32, "width of the residual's hidden layer", low=1)
    learning_rate: float = setting(3e-3, "step size", low=1e-8, high=10)
    l2: float = setting(1e-3, "penalty on the kernels of the residual", low=0)
    epsilon: float = setting(0.02, "share of uniform exploration over all candidates", low=0, high=1)
    gradient_norm: float = setting(1.0, "gradients are clipped to this norm", low=1e-6)


class NeuralEpsilonGreedy(tf.Module):
    """Predicts rewards with a network and shows the best, or any with probability epsilon.

    Args:
      settings: see `NeuralEpsilonGreedySettings`.
      shape: what it is built for.
    """

    def __init__(self, settings: NeuralEpsilonGreedySettings, shape: AgentShape):
        super().__init__(name="neural_epsilon_greedy")
        self.shape, self.rule = shape, EpsilonGreedy(settings.epsilon)
        self.network = RewardNetwork(shape, settings.hidden)
        self.network.create_variables()
        learner = self._learner(settings)
        self._learn = lambda experience, weights: learner.train(experience, weights).loss  # kept out of exports

    @tf.autograph.experimental.do_not_convert  # nothing in it needs it, and converting TF-Agents takes seconds
    def scores(self, context: tf.Tensor, candidates: Candidates) -> tf.Tensor:
        """Predicted rewards; in graph, batched, exportable.

        Args:
          context: [B, C].
          candidates: [B, K]; what is not allowed gets a score too, and the sampler never shows it.

        Returns:
          [B, K] in (0, 1).
        """
        observation = {
            bandit_spec_utils.GLOBAL_FEATURE_KEY: context,
            bandit_spec_utils.PER_ARM_FEATURE_KEY: candidates.features,
        }
        return self.network(observation)[0]

    @tf.autograph.experimental.do_not_convert
    def train(self, feedback: SlateFeedback) -> tf.Tensor:
        """One step on what was shown: every filled slot is one interaction.

        The reward is regressed on what was shown, so propensities do not weigh in: they decide what the data hold, and
        the replay explores enough that everything likely is held.

        Args:
          feedback: [R, n] slates; position -1 = the slot was empty.

        Returns:
          Scalar loss before the step: mean log loss of the rewards, and the penalty.
        """
        slots = tf.shape(feedback.slate)[1]
        filled = tf.reshape(feedback.slate, [-1]) >= 0  # [R * n]
        chosen = tf.gather(feedback.candidates, tf.maximum(feedback.slate, 0), batch_dims=1)  # [R, n, F]
        context = tf.repeat(feedback.context, slots, axis=0)  # [R * n, C]
        experience = trajectory.single_step(
            observation={bandit_spec_utils.GLOBAL_FEATURE_KEY: context[:, None]},
            action=tf.zeros_like(filled, tf.int32)[:, None],
            policy_info=PerArmPolicyInfo(chosen_arm_features=tf.reshape(chosen, [-1, 1, self.shape.feature_dim])),
            reward=tf.reshape(feedback.rewards, [-1, 1]),
            discount=tf.ones_like(context[:, :1]),
        )
        weights = tf.cast(filled, tf.float32)
        weights = tf.math.divide_no_nan(weights, tf.reduce_mean(weights))
        return self._learn(experience, weights)

    def _learner(self, settings: NeuralEpsilonGreedySettings) -> NeuralEpsilonGreedyAgent:
        """TF-Agents' agent around the network."""
        shape = self.shape
        observation = bandit_spec_utils.create_per_arm_observation_spec(
            shape.context_dim, shape.feature_dim, shape.num_candidates
        )
        return NeuralEpsilonGreedyAgent(
            time_step.time_step_spec(observation),
            tensor_spec.BoundedTensorSpec((), tf.int32, 0, shape.num_candidates - 1),
            self.network,
            tf.keras.optimizers.legacy.Adam(settings.learning_rate),
            settings.epsilon,
            accepts_per_arm_features=True,
            error_loss_fn=self._penalised(settings.l2),
            gradient_clipping=settings.gradient_norm,
            enable_summaries=False,
            train_step_counter=tf.Variable(0, dtype=tf.int64, trainable=False),
        )

    def _penalised(self, l2: float) -> Callable:
        """TF-Agents' hook for the loss: log loss of rewards in [0, 1] (proper for their mean), plus L2."""
        kernels = [v for v in self.network.trainable_variables if "kernel" in v.name]

        def loss(labels: tf.Tensor, predictions: tf.Tensor, reduction: str) -> tf.Tensor:
            penalty = l2 * tf.add_n([tf.nn.l2_loss(kernel) for kernel in kernels])
            return tf.compat.v1.losses.log_loss(labels, predictions, reduction=reduction) + penalty

        return loss
