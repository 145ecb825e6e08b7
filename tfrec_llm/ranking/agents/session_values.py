"""Two heads: greedy by the next reward, exploring by what slates are worth over whole sessions.

A greedy answer (no request id) ranks by the predicted reward of the next event, learnt in the replay of logged rows:
protocols that ask what comes next judge it. With a request id, items are drawn by a softmax of an index: the item's
value, learnt in simulated sessions, and the log-odds of the predicted reward, so that what does not fit the user stays
rare, and the level of the rewards does not matter.
The idea of one policy with a head for each of several rewards is that of van Seijen et al. (2017).
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from tf_agents.specs import bandit_spec_utils as keys

from tfrec_llm.config import setting
from tfrec_llm.ranking.agents.experience import shown
from tfrec_llm.ranking.agents.network import CandidateNetwork
from tfrec_llm.ranking.agents.neural_epsilon_greedy import NeuralEpsilonGreedy, NeuralEpsilonGreedySettings
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.ranking.exploration import Boltzmann, Rule
from tfrec_llm.types import Candidates, SlateFeedback

_TINY = 1e-6
_FAR, _BISECTIONS = 20.0, 40  # log-odds that a level may be moved by; halvings that find it
_LEAST = 1e-2  # level at least: far below it, odds would be cut off


@dataclass(frozen=True)
class SessionValuesSettings:
    """Settings of `SessionValues`."""

    hidden: int = setting(32, "width of each head's hidden layer", low=1)
    learning_rate: float = setting(3e-3, "step size", low=1e-8, high=10)
    l2: float = setting(1e-3, "penalty on the kernels of the reward's residual", low=0)
    relevance: float = setting(
        0.15, "what one unit of the log-odds of the predicted reward counts beside the value", low=0
    )
    temperature: float = setting(0.05, "an index so much higher is e times as likely", low=1e-6)
    reward_temperature: float = setting(
        0.005, "before sessions taught values: a predicted reward so much higher is e times as likely", low=1e-6
    )
    discount: float = setting(
        0.0, "share of an item's value that is what the rest of the session brings", low=0, high=1
    )
    gradient_norm: float = setting(1.0, "gradients are clipped to this norm", low=1e-6)


class ValueNetwork(CandidateNetwork):
    """Values in (0, 1); the same for all candidates until something is learnt."""

    def call(self, observation, step_type=None, network_state=()):
        """Observation with "global" [B, C] and "per_arm" [B, K, F] -> [B, K] values."""
        residual = self.residual(observation[keys.GLOBAL_FEATURE_KEY], observation[keys.PER_ARM_FEATURE_KEY])
        return tf.sigmoid(residual), network_state


class Heads(tf.keras.layers.Layer):
    """Both networks as one; they share what standardises their inputs.

    Args:
      rewards: of the next event.
      values: of sessions.
    """

    def __init__(self, rewards: CandidateNetwork, values: CandidateNetwork):
        super().__init__(name="heads")
        self.rewards, self.values = rewards, values
        self.practised = self.add_weight("practised", [], initializer="zeros", trainable=False)
        self.built = True

    def adapt(self, context: np.ndarray, features: np.ndarray, value: float) -> None:
        """See `Inputs.adapt`."""
        self.rewards.adapt(context, features, value)

    def hidden(self, context: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        """What the head of rewards sees: [B, K, hidden]."""
        return self.rewards.hidden(context, features)


@dataclass(frozen=True, eq=False)
class ByIndex:
    """A softmax of logits of the agent's own, in place of the scores.

    logits: [B, K].
    """

    logits: tf.Tensor

    def probabilities(self, scores: tf.Tensor, remaining: tf.Tensor) -> tf.Tensor:
        """See `Rule`."""
        del scores
        return Boltzmann(1.0).probabilities(self.logits, remaining)


class SessionValues(tf.Module):
    """See the module.

    Args:
      settings: see `SessionValuesSettings`.
      shape: what it is built for.
    """

    from_logs = False

    def __init__(self, settings: SessionValuesSettings, shape: AgentShape):
        super().__init__(name="session_values")
        self.shape, self.settings, self.discount = shape, settings, settings.discount
        names = ("hidden", "learning_rate", "l2", "gradient_norm")
        shared = {name: getattr(settings, name) for name in names}
        self.rewards = NeuralEpsilonGreedy(NeuralEpsilonGreedySettings(epsilon=0.0, **shared), shape)
        values = ValueNetwork(shape, settings.hidden, self.rewards.network.inputs_layer, name="values")
        values.create_variables()
        self.network = Heads(self.rewards.network, values)
        optimizer = tf.keras.optimizers.legacy.Adam(settings.learning_rate, clipnorm=settings.gradient_norm)
        self._apply = lambda pairs: optimizer.apply_gradients(pairs)  # kept out of exports

    @tf.autograph.experimental.do_not_convert
    def scores(self, context: tf.Tensor, candidates: Candidates) -> tf.Tensor:
        """[B, C] and [B, K] candidates -> [B, K] predicted rewards of the next event."""
        return self.rewards.scores(context, candidates)

    @tf.autograph.experimental.do_not_convert
    def rule(self, context: tf.Tensor, candidates: Candidates) -> Rule:
        """A softmax of values and of the log-odds of predicted rewards; of the rewards until sessions taught values."""
        return self.scores_and_rule(context, candidates)[1]

    @tf.autograph.experimental.do_not_convert
    def scores_and_rule(self, context: tf.Tensor, candidates: Candidates) -> tuple[tf.Tensor, Rule]:
        """Both at once: the rewards are predicted once."""
        rewards = self.scores(context, candidates)
        odds = tf.math.log(tf.maximum(rewards, _TINY)) - tf.math.log(tf.maximum(1 - rewards, _TINY))
        settings = self.settings
        index = self._values(context, candidates.features) + settings.relevance * odds
        untaught = rewards / settings.reward_temperature
        return rewards, ByIndex(tf.where(self.network.practised > 0, index / settings.temperature, untaught))

    @tf.autograph.experimental.do_not_convert
    def train(self, feedback: SlateFeedback) -> tf.Tensor:
        """One step of the head of rewards; see `NeuralEpsilonGreedy.train`."""
        return self.rewards.train(feedback)

    def settle(self, feedback: SlateFeedback) -> None:
        """Lifts or lowers all predicted rewards until their mean is that of what was shown.

        Greedy answers go by the order of the rewards, and once sessions taught values the index has their log-odds: no
        answer changes. Before that it draws by rewards themselves, and draws otherwise after this. Whoever learns
        from another kind of reward than before (what was shown and taken, in place of the next event of a log) begins
        with this, so that the first steps are not spent on the level, at the cost of what was known.

        Args:
          feedback: [R, n] slates.
        """
        parts = shown(feedback)
        network, weight = self.rewards.network, parts.filled / tf.maximum(tf.reduce_sum(parts.filled), 1.0)
        logits = network.logits(parts.context, parts.features[:, None])[:, 0]
        wanted = tf.clip_by_value(tf.reduce_sum(weight * parts.reward), _LEAST, 1 - _LEAST)
        low, high = tf.constant(-_FAR), tf.constant(_FAR)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            less = tf.reduce_sum(weight * tf.sigmoid(logits + middle)) < wanted
            low, high = tf.where(less, middle, low), tf.where(less, high, middle)
        network.last.bias.assign_add([(low + high) / 2])

    @tf.autograph.experimental.do_not_convert
    def train_values(self, feedback: SlateFeedback) -> tf.Tensor:
        """One step of the head of values.

        Args:
          feedback: [R, n] slates of sessions, rewards in [0, 1]: what each slot adds and leads to.

        Returns:
          Scalar loss before the step: mean log loss of the values, proper for their mean.
        """
        parts = shown(feedback)
        weights = tf.math.divide_no_nan(parts.filled, tf.reduce_mean(parts.filled))
        variables = self.network.values.trainable_variables
        with tf.GradientTape() as tape:
            logits = self.network.values.residual(parts.context, parts.features[:, None])[:, 0]
            losses = tf.nn.sigmoid_cross_entropy_with_logits(parts.reward, logits)
            loss = tf.reduce_mean(weights * losses)
        self._apply(zip(tape.gradient(loss, variables), variables, strict=True))
        self.network.practised.assign(1.0)
        return loss

    def _values(self, context: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
        observation = {keys.GLOBAL_FEATURE_KEY: context, keys.PER_ARM_FEATURE_KEY: features}
        return self.network.values(observation)[0]
