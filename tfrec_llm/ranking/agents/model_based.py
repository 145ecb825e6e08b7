"""Model-based: learns what a decision brings and where it leads, and plans a few decisions ahead with that.

A response model predicts reward, next context and whether the user stays. A plan follows the model for some decisions
and asks a value network for the rest (model-based value expansion, Feinberg et al., 2018; the model is learnt from what
is observed, as by Ha and Schmidhuber, 2018). TF-Agents has no planning agent: this is a `TFAgent` of ours. From slates
without a next situation it learns the reward alone, and ranks by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf
from tf_agents.agents import data_converter, tf_agent
from tf_agents.policies.greedy_policy import GreedyPolicy
from tf_agents.policies.q_policy import QPolicy
from tf_agents.specs import bandit_spec_utils as keys
from tf_agents.trajectories import trajectory
from tf_agents.typing.types import NestedTensor

from tfrec_llm.config import setting
from tfrec_llm.ranking.agents.experience import lone_transitions, masked_specs, pairs, split_mask
from tfrec_llm.ranking.agents.network import NEVER, CandidateNetwork
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.ranking.exploration import EpsilonGreedy, Rule
from tfrec_llm.types import Candidates, SlateFeedback

_SEEN = (keys.GLOBAL_FEATURE_KEY, keys.PER_ARM_FEATURE_KEY)
_STAYING = 3.0  # log-odds, before anything is learnt


@dataclass(frozen=True)
class ModelBasedSettings:
    """Settings of `ModelBased`."""

    hidden: int = setting(32, "width of the hidden layers", low=1)
    learning_rate: float = setting(5e-3, "step size", low=1e-8, high=10)
    discount: float = setting(0.95, "what a reward of the next decision is worth now", low=0, high=0.999)
    horizon: int = setting(2, "decisions that are planned before the value network is asked", low=1)
    options: int = setting(5, "of the candidates, that a planned decision chooses from", low=1)
    sweeps: int = setting(4, "steps on every part of sessions: values spread through the model", low=1)
    epsilon: float = setting(0.05, "share of uniform exploration over all candidates", low=0, high=1)
    gradient_norm: float = setting(1.0, "gradients are clipped to this norm", low=1e-6)


class Imagined(NamedTuple):
    """What the model thinks that showing each candidate leads to."""

    logits: tf.Tensor  # [N, J] of the reward
    context: tf.Tensor  # [N, J, C] next, standardised
    stay: tf.Tensor  # [N, J] logits of staying


class Options(NamedTuple):
    """What may be shown."""

    features: tf.Tensor  # [N, J, F] standardised
    prior: tf.Tensor  # [N, J] log-odds of the reward before anything is learnt
    allowed: tf.Tensor  # [N, J] bool


class ResponseNetwork(CandidateNetwork):
    """Response model and values over shared inputs; as a TF-Agents network it gives the scores of its plan.

    Args:
      shape: the widths.
      settings: of the agent.
    """

    def __init__(self, shape: AgentShape, settings: ModelBasedSettings):
        super().__init__(shape, settings.hidden, name="response")
        self.settings = settings
        init = tf.keras.initializers.GlorotUniform(shape.seed + 3)
        self.move = tf.keras.layers.Dense(shape.context_dim, kernel_initializer="zeros")
        self.staying = tf.keras.layers.Dense(
            1, kernel_initializer="zeros", bias_initializer=tf.keras.initializers.Constant(_STAYING)
        )
        self.hidden_value = tf.keras.layers.Dense(settings.hidden, activation="relu", kernel_initializer=init)
        self.last_value = tf.keras.layers.Dense(1, kernel_initializer="zeros")

    def call(
        self, observation: Mapping[str, tf.Tensor], step_type: tf.Tensor | None = None, network_state: tuple = ()
    ) -> tuple[tf.Tensor, tuple]:
        """Observation with "global" [B, C] and "per_arm" [B, K, F] -> [B, K] scores of the plan."""
        context, features = observation[keys.GLOBAL_FEATURE_KEY], observation[keys.PER_ARM_FEATURE_KEY]
        return self.plan(context, features, tf.ones_like(features[..., 0], tf.bool)), network_state

    def plan(self, context: tf.Tensor, features: tf.Tensor, allowed: tf.Tensor) -> tf.Tensor:
        """What each candidate brings and leads to.

        Args:
          context: [B, C].
          features: [B, K, F].
          allowed: [B, K] bool, what planned decisions choose from.

        Returns:
          [B, K] mean rewards of the decisions from this one on.
        """
        own, (c, options) = self.settings, self.options(context, features, allowed)
        now = self.imagine(c, options)
        few = self._few(options)  # J of the K
        width, count = tf.shape(features)[1], tf.shape(c)[0]
        follow = tf.nest.map_structure(lambda part: tf.repeat(part, width, axis=0), few)  # [B * K, J]
        moved = tf.reshape(now.context, [-1, self.shape.context_dim])
        future = tf.sigmoid(now.stay) * tf.reshape(self.worth(moved, follow, own.horizon - 1), [count, width])
        return (1 - own.discount) * tf.sigmoid(now.logits) + own.discount * future

    def options(self, context: tf.Tensor, features: tf.Tensor, allowed: tf.Tensor) -> tuple[tf.Tensor, Options]:
        """Standardised contexts [B, C], and the candidates as options."""
        c, f = self.inputs_layer(context, features)
        return c, Options(f, self.prior_logits(features), allowed)

    def imagine(self, c: tf.Tensor, options: Options) -> Imagined:
        """[N, C] standardised contexts and options -> what the model predicts of showing each."""
        hidden = self.encode(c, options.features)
        moved = self.inputs_layer.clip(c[:, None, :] + self.move(hidden))
        return Imagined(options.prior + self.last(hidden)[..., 0], moved, self.staying(hidden)[..., 0])

    def value(self, c: tf.Tensor) -> tf.Tensor:
        """[..., C] standardised contexts -> [...] mean rewards of what follows."""
        return self.inputs_layer.value + self.last_value(self.hidden_value(c))[..., 0]

    def values_of(self, imagined: Imagined, allowed: tf.Tensor) -> tf.Tensor:
        """[N, J] mean rewards of showing each and going on as the value network says; NEVER where it may not be."""
        discount = self.settings.discount
        following = tf.sigmoid(imagined.stay) * self.value(imagined.context)
        return tf.where(allowed, (1 - discount) * tf.sigmoid(imagined.logits) + discount * following, NEVER)

    def worth(self, c: tf.Tensor, options: Options, decisions: int) -> tf.Tensor:
        """Mean rewards from here on: some decisions as the model says, then as the value network does.

        Args:
          c: [N, C] standardised contexts.
          options: [N, J] that every planned decision chooses from.
          decisions: how many are planned.

        Returns:
          [N].
        """
        discount, gained, reached = self.settings.discount, tf.zeros_like(c[:, 0]), tf.ones_like(c[:, 0])
        for _ in range(decisions):
            imagined = self.imagine(c, options)
            best = tf.argmax(self.values_of(imagined, options.allowed), axis=1, output_type=tf.int32)
            logits, c, stay = tf.nest.map_structure(lambda part, j=best: tf.gather(part, j, batch_dims=1), imagined)
            gained += reached * (1 - discount) * tf.sigmoid(logits)
            reached *= discount * tf.sigmoid(stay)
        return gained + reached * self.value(c)

    def _few(self, options: Options) -> Options:
        """Some of the candidates, evenly from the first to the last."""
        places = tf.range(self.settings.options) * tf.shape(options.prior)[1] // self.settings.options
        return Options(*(tf.gather(part, places, axis=1) for part in options))


class ResponseLosses(NamedTuple):
    """Mean losses, weighted."""

    reward: tf.Tensor  # log loss
    move: tf.Tensor  # squared error of the next context, where the user stayed
    stay: tf.Tensor  # log loss
    value: tf.Tensor  # squared error against one decision ahead


def response_losses(network: ResponseNetwork, transition: trajectory.Transition, weights: tf.Tensor) -> ResponseLosses:
    """What the network learns from transitions.

    Args:
      network: is asked.
      transition: M decisions and what came of each.
      weights: [M] of mean one.
    """
    steps, shown, after = transition
    seen, remaining = split_mask(steps.observation)
    c, options = network.options(seen[keys.GLOBAL_FEATURE_KEY], seen[keys.PER_ARM_FEATURE_KEY], remaining)
    imagined = network.imagine(c, options)
    following, _ = network.inputs_layer(*(after.observation[key] for key in _SEEN))
    logits, moved, stay = tf.nest.map_structure(lambda part: tf.gather(part, shown.action, batch_dims=1), imagined)
    best = tf.reduce_max(network.values_of(imagined, remaining), axis=1)  # [M]
    entropy, there = tf.nn.sigmoid_cross_entropy_with_logits, after.discount
    parts = (
        entropy(after.reward, logits),
        there * tf.reduce_mean(tf.square(following - moved), axis=-1),
        entropy(there, stay),
        tf.square(tf.stop_gradient(best) - network.value(tf.stop_gradient(c))),
    )
    return ResponseLosses(*(tf.reduce_mean(weights * part) for part in parts))


class ModelBasedAgent(tf_agent.TFAgent):
    """Learns the response model and the values; its own policy is greedy in the plan's scores.

    Args:
      network: both.
      learning_rate: step size.
      gradient_norm: gradients are clipped to this norm.
    """

    def __init__(self, network: ResponseNetwork, learning_rate: float, gradient_norm: float):
        specs = masked_specs(*network.shape[:3])
        policy = GreedyPolicy(QPolicy(*specs, network, observation_and_action_constraint_splitter=split_mask))
        counter = tf.Variable(0, dtype=tf.int64, trainable=False)
        super().__init__(*specs, policy, policy, train_sequence_length=2, train_step_counter=counter)
        self._network, self._gradient_norm = network, gradient_norm
        self._optimizer = tf.keras.optimizers.legacy.Adam(learning_rate)
        self._as_transition = data_converter.AsNStepTransition(self.data_context, gamma=1.0, n=1)

    def _train(self, experience: NestedTensor, weights: tf.Tensor | None) -> tf_agent.LossInfo:
        """One step; `experience` is transitions, or [M, 2] decisions each with the one after it."""
        transition = self._as_transition(experience)
        usable = 1.0 - tf.cast(transition.time_step.is_last(), tf.float32)
        with tf.GradientTape() as tape:
            losses = response_losses(self._network, transition, usable if weights is None else usable * weights)
            loss = tf.add_n(losses)
        variables = self._network.trainable_variables
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, variables), self._gradient_norm)
        self._optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.train_step_counter.assign_add(1)
        return tf_agent.LossInfo(loss, losses)


class ModelBased(tf.Module):
    """Shows what its plan makes best, or any with probability epsilon.

    Args:
      settings: see `ModelBasedSettings`.
      shape: what it is built for.
    """

    from_logs = False

    def __init__(self, settings: ModelBasedSettings, shape: AgentShape):
        super().__init__(name="model_based")
        self.shape, self._sweeps, self._rule = shape, settings.sweeps, EpsilonGreedy(settings.epsilon)
        self.network = ResponseNetwork(shape, settings)
        self.network.create_variables()
        learner = ModelBasedAgent(self.network, settings.learning_rate, settings.gradient_norm)
        self._learn = lambda experience, weights=None: learner.train(experience, weights).loss  # kept out of exports

    @tf.autograph.experimental.do_not_convert
    def scores(self, context: tf.Tensor, candidates: Candidates) -> tf.Tensor:
        """[B, C] and [B, K] candidates -> [B, K] scores of the plan."""
        return self.network.plan(context, candidates.features, candidates.allowed)

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
          Scalar loss before the step.
        """
        return self._learn(*lone_transitions(feedback))

    @tf.autograph.experimental.do_not_convert
    def train_sessions(self, steps: trajectory.Trajectory) -> tf.Tensor:
        """Some steps on parts of sessions, from each decision to the next.

        Args:
          steps: [B, T] decisions one after the other, observations as `experience.observe` makes them.

        Returns:
          Scalar loss before the last step.
        """
        experience = pairs(steps)
        return [self._learn(experience) for _ in range(self._sweeps)][-1]
