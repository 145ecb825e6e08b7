"""Worlds to try agents in: batched, in graph, and with a known optimum."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from tfrec_llm.config import setting


class Situation(NamedTuple):
    """What users of one round bring, and what each candidate would be worth to them."""

    context: tf.Tensor  # [B, C]
    features: tf.Tensor  # [B, K, F]
    expected: tf.Tensor  # [B, K] mean rewards, in [0, 1]; agents never see them


class World(Protocol):
    """What every line of WORLDS builds."""

    context_dim: int
    feature_dim: int
    num_actions: int

    def observe(self, users: int, seed: tf.Tensor, number: int | tf.Tensor = 0) -> Situation:
        """New users of round `number`; `seed` [2] integers decide everything else."""

    def reward(self, expected: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """[B] mean rewards of what was shown -> [B] rewards in [0, 1], noise included."""


@dataclass(frozen=True)
class LinearSettings:
    """Settings of `LinearWorld`."""

    context_dim: int = setting(8, "C", low=1)
    feature_dim: int = setting(8, "F", low=1)
    num_actions: int = setting(20, "K", low=2)
    noise: float = setting(0.1, "rewards are uniform within so much of their mean", low=0, high=0.1)


class LinearWorld:
    """Rewards that are linear in context and features of the item shown (Li et al., 2010).

    mean = .5 + .1 u·x + .3 w·f for unit vectors u, w of the world, x of the user, f of the item: it lies in [.1, .9],
    and rewards, uniform within `noise` of it, in [0, 1]. Items differ from user to user; the best is the one that w
    likes most.

    Args:
      settings: see `LinearSettings`.
      seed: decides u and w.
    """

    def __init__(self, settings: LinearSettings, seed: int):
        self.context_dim, self.feature_dim = settings.context_dim, settings.feature_dim
        self.num_actions, self._noise = settings.num_actions, settings.noise
        self._context_weights = _unit([settings.context_dim], [seed, 1])
        self._feature_weights = _unit([settings.feature_dim], [seed, 2])

    def observe(self, users: int, seed: tf.Tensor, number: int | tf.Tensor = 0) -> Situation:
        """See `World`."""
        seeds = tf.random.split(seed, 2, alg="philox")
        context = _unit([users, self.context_dim], seeds[0])  # [B, C]
        features = _unit([users, self.num_actions, self.feature_dim], seeds[1])  # [B, K, F]
        liked = tf.linalg.matvec(features, self.taste(number))  # [B, K]
        expected = 0.5 + 0.1 * tf.linalg.matvec(context, self._context_weights)[:, None] + 0.3 * liked
        return Situation(context, features, expected)

    def taste(self, number: int | tf.Tensor) -> tf.Tensor:
        """[F] w in round `number`: always the same."""
        del number
        return self._feature_weights

    def reward(self, expected: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """See `World`."""
        return expected + self._noise * tf.random.stateless_uniform(tf.shape(expected), seed, -1.0, 1.0, alg="philox")


@dataclass(frozen=True)
class DriftingSettings(LinearSettings):
    """Settings of `DriftingWorld`."""

    period: int = setting(200, "rounds in which taste turns round once", low=2)

    def __post_init__(self):
        if self.feature_dim < 2:
            raise ValueError(f"expected a feature_dim of at least 2, got {self.feature_dim}: taste turns in a plane.")


class DriftingWorld(LinearWorld):
    """The linear world, but w turns in a plane round by round: what was liked most is liked least half a turn later.

    Args:
      settings: see `DriftingSettings`.
      seed: decides u, and where w begins and turns to.
    """

    def __init__(self, settings: DriftingSettings, seed: int):
        super().__init__(settings, seed)
        self._period, begin = settings.period, self._feature_weights
        other = _unit([settings.feature_dim], [seed, 3])
        self._quarter = tf.math.l2_normalize(other - tf.reduce_sum(other * begin) * begin)  # w after a quarter turn

    def taste(self, number: int | tf.Tensor) -> tf.Tensor:
        """[F] w in round `number`."""
        angle = 2 * math.pi * tf.cast(number, tf.float32) / self._period
        return tf.cos(angle) * self._feature_weights + tf.sin(angle) * self._quarter


WORLDS: Mapping[str, tuple[type, Any]] = {
    "drifting": (DriftingSettings, DriftingWorld),
    "linear": (LinearSettings, LinearWorld),
}


def _unit(shape: list[int], seed: tf.Tensor) -> tf.Tensor:
    return tf.math.l2_normalize(tf.random.stateless_normal(shape, seed, alg="philox"), axis=-1)
