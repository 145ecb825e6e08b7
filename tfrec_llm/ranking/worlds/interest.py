"""A world in which being greedy loses: what attracts most now spoils the interest that later rewards live on.

After RecSim's long-term satisfaction world (Ie et al., 2019). An item's first feature is its bait c in [0, 1]. A user's
interest s moves to memory x s + 1 - 2 c, and what is shown brings (plain + (1 - plain) c) x sigmoid(sensitivity x s).
After each decision a user leaves with a probability that nobody can change, and a new one comes.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrec_llm.config import setting
from tfrec_llm.ranking.worlds.environments import Situation

_GRID, _SETS, _TOLERANCE = 101, 100, 1e-5  # of the value iteration


@dataclass(frozen=True)
class InterestSettings:
    """Settings of `InterestWorld`."""

    num_actions: int = setting(10, "K", low=2)
    distractors: int = setting(3, "values of context and features that mean nothing", low=0)
    memory: float = setting(0.9, "what is left of interest after a decision", low=0, high=0.99)
    sensitivity: float = setting(0.2, "how much interest counts", low=0)
    plain: float = setting(0.6, "what an item without bait brings to a user of full interest", low=0, high=1)
    leaving: float = setting(0.05, "probability that a user leaves after a decision", low=0.001, high=1)
    noise: float = setting(0.1, "rewards are uniform within such a share of their mean", low=0, high=1)


class Response(NamedTuple):
    """What a decision led to."""

    reward: tf.Tensor  # [B] in [0, 1.1]
    state: tf.Tensor  # [B, S] of whoever comes next
    ended: tf.Tensor  # [B] bool: the user left
    taken: tf.Tensor  # [B] slot of the slate whose item was taken, -1 for none


class InterestWorld:
    """See the module.

    Args:
      settings: see `InterestSettings`.
      seed: not looked at: the world has no chance in it but its users'.
    """

    slate = 1  # items shown together

    def __init__(self, settings: InterestSettings, seed: int = 0):
        del seed
        self.settings, self.num_actions = settings, settings.num_actions
        self.context_dim = self.feature_dim = 1 + settings.distractors

    @functools.cached_property
    def optimum(self) -> float:
        """Mean reward of a decision where every one is the best in the long run."""
        return self.value_of(greedy=False)

    def begin(self, users: int) -> tf.Tensor:
        """[B, 1] new users, of no interest either way."""
        return tf.zeros([users, 1])

    def observe(self, state: tf.Tensor, seed: tf.Tensor) -> Situation:
        """What is seen of users [B, 1], and candidates drawn for each; `expected` is what each brings now."""
        seeds = tf.random.split(seed, 3, alg="philox")
        users, others = tf.shape(state)[0], self.settings.distractors
        bait = tf.random.stateless_uniform([users, self.num_actions, 1], seeds[0], alg="philox")
        context = tf.concat([0.2 * state, tf.random.stateless_normal([users, others], seeds[1], alg="philox")], -1)
        nothing = tf.random.stateless_normal([users, self.num_actions, others], seeds[2], alg="philox")
        return Situation(context, tf.concat([bait, nothing], -1), self._brings(state, bait[..., 0]))

    def respond(self, state: tf.Tensor, situation: Situation, positions: tf.Tensor, seed: tf.Tensor) -> Response:
        """What showing the items at `positions` [B] leads to."""
        mean = tf.gather(situation.expected, positions, batch_dims=1)
        bait = tf.gather(situation.features[..., 0], positions, batch_dims=1)
        noise, left = self._noise_and_leaving(tf.shape(mean), tf.random.split(seed, 2, alg="philox"))
        after = self.settings.memory * state[:, 0] + 1 - 2 * bait
        return Response(mean * noise, tf.where(left, 0.0, after)[:, None], left, tf.zeros_like(positions))

    def value_of(self, greedy: bool) -> float:
        """Mean reward of a decision in the long run, by value iteration over interest and sampled candidates.

        Users leave alike whatever is shown, so the mean reward is the leaving probability times the value, discounted
        by staying, of a new user.

        Args:
          greedy: of always showing what brings most now, in place of what is best in the long run.
        """
        own = self.settings
        reach = 1 / (1 - own.memory)
        grid = np.linspace(-reach, reach, _GRID)
        bait = np.random.default_rng(0).random((_SETS, own.num_actions))
        interested = 1 / (1 + np.exp(-own.sensitivity * grid))[:, None, None]
        now = (own.plain + (1 - own.plain) * bait) * interested  # [grid, sets, K]
        after = own.memory * grid[:, None, None] + 1 - 2 * bait
        value, change = np.zeros(_GRID), np.inf
        while change > _TOLERANCE:
            options = now + (1 - own.leaving) * np.interp(after, grid, value)
            best = (now if greedy else options).argmax(axis=-1)[..., None]
            new = np.take_along_axis(options, best, axis=-1)[..., 0].mean(axis=1)
            value, change = new, np.abs(new - value).max()
        return float(own.leaving * np.interp(0.0, grid, value))

    def _noise_and_leaving(self, shape: tf.Tensor, seeds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """What rewards are multiplied with, and who leaves."""
        noise = tf.random.stateless_uniform(shape, seeds[0], -1.0, 1.0, alg="philox")
        left = tf.random.stateless_uniform(shape, seeds[1], alg="philox") < self.settings.leaving
        return 1 + self.settings.noise * noise, left

    def _brings(self, state: tf.Tensor, bait: tf.Tensor) -> tf.Tensor:
        plain = self.settings.plain
        return (plain + (1 - plain) * bait) * tf.sigmoid(self.settings.sensitivity * state)
