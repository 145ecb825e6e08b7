"""SlateQ: what a slate is worth in the long run, made of what its items are worth if taken (Ie et al., 2019).

A user takes item i of slate A with probability v_i / (1 + sum of v over A), or else nothing; Q_i is what follows when i
is taken, Q_0 when nothing is. So a slate is worth (Q_0 + sum of v Q over A) / (1 + sum of v over A). The best slate of
n is found exactly, as the n items with the largest v (Q - its worth), by Dinkelbach's iteration (1967). In a slate of
one whose item is always taken, this is Q-learning.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf
from tf_agents.specs import bandit_spec_utils as keys
from tf_agents.trajectories import trajectory
from tf_agents.utils import value_ops

from tfrec_llm.config import setting
from tfrec_llm.ranking.agents.experience import flat
from tfrec_llm.ranking.agents.inputs import Inputs
from tfrec_llm.ranking.agents.learner import Learner
from tfrec_llm.ranking.agents.network import CandidateNetwork
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.ranking.exploration import EpsilonGreedy, Rule
from tfrec_llm.types import Candidates, SlateFeedback

_MOST = 8.0  # log of v, softly: an item that is always taken leaves something of the differences between slates
_ITERATIONS = 4  # Dinkelbach's converges superlinearly


@dataclass(frozen=True)
class SlateQSettings:
    """Settings of `SlateQ`."""

    hidden: int = setting(64, "width of each hidden layer", low=1)
    learning_rate: float = setting(1e-2, "step size", low=1e-8, high=10)
    decay: float = setting(0.02, "after t steps, the step size is learning_rate / (1 + decay t)", low=0)
    discount: float = setting(0.95, "what a reward of the next decision is worth now", low=0, high=0.999)
    n_step: int = setting(7, "decisions at most whose rewards are summed before the network is asked", low=1)
    target_rate: float = setting(0.05, "how far the target network moves in a step", low=1e-4, high=1)
    epsilon: float = setting(0.05, "share of uniform exploration over all candidates", low=0, high=1)
    gradient_norm: float = setting(1.0, "gradients are clipped to this norm", low=1e-6)


class Worth(NamedTuple):
    """What is thought of candidates: what v and Q of the module are made of."""

    choice: tf.Tensor  # [B, K] log of v
    taken: tf.Tensor  # [B, K] Q of each candidate
    nothing: tf.Tensor  # [B] Q_0


class Slates(NamedTuple):
    """Slates, what was taken of them, and what that is worth: R of them."""

    context: tf.Tensor  # [R, C]
    features: tf.Tensor  # [R, K, F]
    slate: tf.Tensor  # [R, n] positions in K, -1 = empty
    taken: tf.Tensor  # [R, n] 0 or 1; one, where users take one
    value: tf.Tensor  # [R, n] of taking the item
    nothing: tf.Tensor  # [R] of taking none


class TakenNetwork(CandidateNetwork):
    """What follows when an item is taken; at first the mean of what events bring.

    The situation has a part of its own (Wang et al., 2016): it counts for more than the item does, where much follows.
    """

    def __init__(self, shape: AgentShape, hidden: int, inputs: Inputs, name: str):
        super().__init__(shape, hidden, inputs, name)
        self.situation = _of_context(hidden, shape.seed)

    def call(
        self, observation: Mapping[str, tf.Tensor], step_type: tf.Tensor | None = None, network_state: tuple = ()
    ) -> tuple[tf.Tensor, tuple]:
        """Observation with "global" [B, C] and "per_arm" [B, K, F] -> [B, K] values."""
        context, features = observation[keys.GLOBAL_FEATURE_KEY], observation[keys.PER_ARM_FEATURE_KEY]
        standardised, _ = self.inputs_layer(context, features)
        mean = self.inputs_layer.value + self.situation(standardised)  # [B, 1]
        return mean + self.residual(context, features), network_state


class SlateNetwork(CandidateNetwork):
    """The choice model, the blend's at first, and the values of what is taken, all the same at first."""

    def __init__(self, shape: AgentShape, hidden: int, own: "SlateNetwork | None" = None, name: str = "slates"):
        inputs = None if own is None else own.inputs_layer
        super().__init__(shape, hidden, inputs, name=name)
        self.following = TakenNetwork(shape, hidden, self.inputs_layer, name="following")
        self.left = _of_context(hidden, shape.seed)

    def call(
        self, observation: Mapping[str, tf.Tensor], step_type: tf.Tensor | None = None, network_state: tuple = ()
    ) -> tuple[Worth, tuple]:
        """Observation with "global" [B, C] and "per_arm" [B, K, F] -> what is thought of the candidates."""
        if not self.following.built:
            self.following.create_variables()
        context, features = observation[keys.GLOBAL_FEATURE_KEY], observation[keys.PER_ARM_FEATURE_KEY]
        choice = _MOST - tf.nn.softplus(_MOST - self.logits(context, features))
        standardised, _ = self.inputs_layer(context, features)
        return Worth(choice, self.following(observation)[0], self.left(standardised)[:, 0]), network_state

    def worth(self, context: tf.Tensor, features: tf.Tensor) -> Worth:
        """[B, C] and [B, K, F] -> what is thought of the candidates."""
        return self({keys.GLOBAL_FEATURE_KEY: context, keys.PER_ARM_FEATURE_KEY: features})[0]


class SlateQ(tf.Module):
    """Shows the slate that is worth most in the long run, or any item in a slot with probability epsilon.

    Args:
      settings: see `SlateQSettings`.
      shape: what it is built for; its `slate` says how many items are shown together.
    """

    from_logs = False

    def __init__(self, settings: SlateQSettings, shape: AgentShape):
        super().__init__(name="slate_q")
        self.shape, self.n_step, self._rule = shape, settings.n_step, EpsilonGreedy(settings.epsilon)
        self._own = settings
        self.network = SlateNetwork(shape, settings.hidden)
        target = SlateNetwork(shape, settings.hidden, self.network, name="target_slates")
        for one in (self.network, target):
            one.create_variables()
        pairs = list(zip(target.trainable_variables, self.network.trainable_variables, strict=True))
        for behind, ahead in pairs:
            behind.assign(ahead)
        learner = Learner(
            self, self.network, self._loss, settings.learning_rate, settings.gradient_norm, decay=settings.decay
        )
        self._learn = lambda experience: learner.train(experience).loss  # kept out of exports, as the target is
        self._target = lambda: (target, pairs)

    @tf.autograph.experimental.do_not_convert
    def scores(self, context: tf.Tensor, candidates: Candidates) -> tf.Tensor:
        """[B, C] and [B, K] candidates -> [B, K] v (Q - worth of the best slate)."""
        return best_slate(self.network.worth(context, candidates.features), candidates.allowed, self.shape.slate).scores

    def rule(self, context: tf.Tensor, candidates: Candidates) -> Rule:
        """Any candidate with probability epsilon."""
        del context, candidates
        return self._rule

    @tf.autograph.experimental.do_not_convert
    def train(self, feedback: SlateFeedback) -> tf.Tensor:
        """One step on slates after which nothing comes; what brought a reward was taken.

        Args:
          feedback: [R, n] slates; position -1 = the slot was empty.

        Returns:
          Scalar loss before the step.
        """
        rewards = tf.where(feedback.slate >= 0, feedback.rewards, 0.0)
        taken = tf.cast(rewards > 0, tf.float32)
        nothing = tf.zeros_like(rewards[:, 0])
        return self._follow(
            Slates(feedback.context, feedback.candidates, feedback.slate, taken, rewards, nothing)
        )  # fmt: skip

    @tf.autograph.experimental.do_not_convert
    def train_sessions(self, steps: trajectory.Trajectory) -> tf.Tensor:
        """One step on parts of sessions: each decision with the rewards up to the last one, and what that one is worth.

        Args:
          steps: [B, n_step + 1] decisions one after the other.

        Returns:
          Scalar loss before the step.
        """
        last, learnt = (tf.nest.map_structure(lambda part, cut=cut: part[:, cut], steps) for cut in (-1, slice(-1)))
        discount = self._own.discount
        returns = value_ops.discounted_return(
            (1 - discount) * learnt.reward, discount * learnt.discount, self._worth_of(last), time_major=False
        )
        context, features = (
            flat(learnt.observation[key]) for key in (keys.GLOBAL_FEATURE_KEY, keys.PER_ARM_FEATURE_KEY)
        )
        slate, _, slot = flat(learnt.policy_info)
        taken, value = tf.one_hot(slot, tf.shape(slate)[1]), tf.reshape(returns, [-1])
        return self._follow(Slates(context, features, slate, taken, value[:, None] * taken, value))

    def _worth_of(self, step: trajectory.Trajectory) -> tf.Tensor:
        """[B] what the best slates are worth: chosen by the network, valued by the one that follows it."""
        target, _ = self._target()
        context, features = (step.observation[key] for key in (keys.GLOBAL_FEATURE_KEY, keys.PER_ARM_FEATURE_KEY))
        allowed = tf.ones(tf.shape(features)[:2], tf.bool)
        slate = best_slate(self.network.worth(context, features), allowed, self.shape.slate).positions
        return slate_worth(target.worth(context, features), slate)

    def _follow(self, batch: Slates) -> tf.Tensor:
        """A step, after which the target network is a little nearer."""
        loss = self._learn(batch)
        with tf.control_dependencies([loss]):
            for behind, ahead in self._target()[1]:
                behind.assign_add(self._own.target_rate * (ahead - behind))
        return loss

    def _loss(self, batch: Slates) -> tf.Tensor:
        """Of the choice model: log-likelihood; of the values: Huber loss where something was taken."""
        worth = self.network.worth(batch.context, batch.features)
        shown = tf.maximum(batch.slate, 0)
        choice, value = (tf.gather(part, shown, batch_dims=1) for part in (worth.choice, worth.taken))  # [R, n]
        choice = tf.where(batch.slate >= 0, choice, -1e9)
        total = tf.reduce_logsumexp(tf.concat([tf.zeros_like(choice[:, :1]), choice], axis=1), axis=1)  # [R]
        none = tf.cast(tf.reduce_sum(batch.taken, axis=1) < 0.5, tf.float32)  # [R]
        surprise = tf.reduce_sum(batch.taken * (total[:, None] - choice), axis=1) + none * total
        errors = tf.reduce_sum(batch.taken * huber(value - batch.value), axis=1)
        errors += none * huber(worth.nothing - batch.nothing)
        some = tf.cast(tf.reduce_any(batch.slate >= 0, axis=1), tf.float32)
        return tf.math.divide_no_nan(tf.reduce_sum(some * (surprise + errors)), tf.reduce_sum(some))


class Best(NamedTuple):
    """The best slates."""

    scores: tf.Tensor  # [B, K] by which the first n are the best slate
    positions: tf.Tensor  # [B, n]


def best_slate(worth: Worth, allowed: tf.Tensor, n: int) -> Best:
    """The slates that are worth most, exactly.

    Args:
      worth: of [B, K] candidates.
      allowed: [B, K] bool; the slate is made of these, as far as there are enough.
      n: how many items a slate holds, where there are so many.
    """
    count = tf.minimum(n, tf.shape(worth.taken)[1])
    lowest = worth.taken.dtype.min
    scores = tf.where(allowed, tf.exp(worth.choice), 0.0)
    open_to = worth._replace(choice=tf.where(allowed, worth.choice, -1e9))
    for _ in range(_ITERATIONS):
        positions = tf.math.top_k(tf.where(allowed, scores, lowest), count).indices
        threshold = slate_worth(open_to, positions)[:, None]
        scores = tf.exp(worth.choice) * (worth.taken - threshold)
    return Best(scores, tf.math.top_k(tf.where(allowed, scores, lowest), count).indices)


def slate_worth(worth: Worth, slate: tf.Tensor) -> tf.Tensor:
    """[B] what the slates at positions [B, n] are worth: a mean over what users take of them."""
    choice, taken = (tf.gather(part, slate, batch_dims=1) for part in (worth.choice, worth.taken))
    chances = tf.nn.softmax(tf.concat([tf.zeros_like(choice[:, :1]), choice], axis=1))  # [B, 1 + n]
    return tf.reduce_sum(chances * tf.concat([worth.nothing[:, None], taken], axis=1), axis=1)


def _of_context(hidden: int, seed: int) -> tf.keras.Sequential:
    """[B, C] -> [B, 1], 0 at first."""
    initial = tf.keras.initializers.GlorotUniform(seed + 3)
    first = tf.keras.layers.Dense(hidden, "relu", kernel_initializer=initial)
    return tf.keras.Sequential([first, tf.keras.layers.Dense(1, kernel_initializer="zeros")])


def huber(error: tf.Tensor) -> tf.Tensor:
    """Squares of small errors, half as usual, and the size of large ones."""
    size = tf.abs(error)
    return tf.where(size <= 1, 0.5 * tf.square(error), size - 0.5)
