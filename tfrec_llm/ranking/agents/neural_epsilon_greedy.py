"""Neural epsilon-greedy: TF-Agents' contextual bandit with per-item features.

TF-Agents does the learning (`NeuralEpsilonGreedyAgent.train` on a reward network of ours; XLA compiles it whole); its
policy and driver are not used: slates, the mask of allowed candidates and propensities are the shared sampler's, and
the driver's loop is slow.
"""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf
from tf_agents.bandits.agents.neural_epsilon_greedy_agent import NeuralEpsilonGreedyAgent
from tf_agents.specs import bandit_spec_utils

from tfrec_llm.config import setting
from tfrec_llm.ranking.agents.experience import experience_of, shown, specs
from tfrec_llm.ranking.agents.network import RewardNetwork
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.ranking.exploration import EpsilonGreedy, Rule
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

    from_logs = False

    def __init__(self, settings: NeuralEpsilonGreedySettings, shape: AgentShape):
        super().__init__(name="neural_epsilon_greedy")
        self.shape, self._rule = shape, EpsilonGreedy(settings.epsilon)
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

    def rule(self, context: tf.Tensor, candidates: Candidates) -> Rule:
        """Any candidate with probability epsilon."""
        del context, candidates
        return self._rule

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
        context, features, reward, filled = shown(feedback)
        weights = tf.math.divide_no_nan(filled, tf.reduce_mean(filled))
        return self._learn(experience_of(context, features, reward), weights)

    def _learner(self, settings: NeuralEpsilonGreedySettings) -> NeuralEpsilonGreedyAgent:
        """TF-Agents' agent around the network."""
        shape = self.shape
        return NeuralEpsilonGreedyAgent(
            *specs(shape.context_dim, shape.feature_dim, shape.num_candidates),
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
