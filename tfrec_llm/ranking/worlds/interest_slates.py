"""The world of interest with slates: several items are shown, and the user takes one of them, or nothing.

What has more bait is taken more often (a conditional logit), as in RecSim's choice models (Ie et al., 2019); only what
is taken brings a reward and changes the user's interest.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfrec_llm.config import setting
from tfrec_llm.ranking.worlds.environments import Situation
from tfrec_llm.ranking.worlds.interest import InterestSettings, InterestWorld, Response

_GRID, _SETS, _TOLERANCE = 51, 40, 1e-5  # of the value iteration


@dataclass(frozen=True)
class InterestSlatesSettings(InterestSettings):
    """Settings of `InterestSlates`."""

    slate: int = setting(3, "n, items shown together", low=1)
    drawn: float = setting(2.0, "log-odds of being taken that full bait adds; none = as likely as nothing", low=0)


class InterestSlates(InterestWorld):
    """See the module.

    Args:
      settings: see `InterestSlatesSettings`.
      seed: not looked at.
    """

    def __init__(self, settings: InterestSlatesSettings, seed: int = 0):
        super().__init__(settings, seed)
        self.slate = settings.slate

    def respond(self, state: tf.Tensor, situation: Situation, positions: tf.Tensor, seed: tf.Tensor) -> Response:
        """What showing the slates at `positions` [B, n] leads to."""
        seeds = tf.random.split(seed, 3, alg="philox")
        bait = tf.gather(situation.features[..., 0], positions, batch_dims=1)  # [B, n]
        pulls = tf.concat([self.settings.drawn * bait, tf.zeros_like(bait[:, :1])], axis=1)
        uniform = tf.random.stateless_uniform(tf.shape(pulls), seeds[0], 1e-7, 1.0, alg="philox")
        choice = tf.argmax(pulls - tf.math.log(-tf.math.log(uniform)), axis=1, output_type=tf.int32)
        nothing = choice == self.slate
        slot = tf.where(nothing, 0, choice)
        taken = tf.gather(positions, slot, batch_dims=1)
        noise, left = self._noise_and_leaving(tf.shape(slot), seeds[1:])
        mean = tf.where(nothing, 0.0, tf.gather(situation.expected, taken, batch_dims=1))
        push = tf.where(nothing, 0.0, 1 - 2 * tf.gather(bait, slot, batch_dims=1))
        after = tf.where(left, 0.0, self.settings.memory * state[:, 0] + push)
        return Response(mean * noise, after[:, None], left, tf.where(nothing, -1, slot))

    def value_of(self, greedy: bool) -> float:
        """As `InterestWorld.value_of`, over all slates of sampled candidates."""
        own = self.settings
        reach = 1 / (1 - own.memory)
        grid = np.linspace(-reach, reach, _GRID)
        bait = np.random.default_rng(0).random((_SETS, own.num_actions))
        slates = np.array(list(itertools.combinations(range(own.num_actions), own.slate)))  # [L, n]
        pulls = np.exp(own.drawn * bait)[:, slates]  # [sets, L, n]
        nothing = 1 / (1 + pulls.sum(axis=-1))
        chances = (pulls * nothing[..., None])[None]
        interested = 1 / (1 + np.exp(-own.sensitivity * grid))[:, None, None]
        now = (own.plain + (1 - own.plain) * bait) * interested  # [grid, sets, K]
        after = own.memory * grid[:, None, None] + 1 - 2 * bait

        def worth(items: np.ndarray, none: np.ndarray) -> np.ndarray:
            return (chances * items[..., slates]).sum(axis=-1) + nothing * none[:, None, None]  # [grid, sets, L]

        best = worth(now, 0 * grid).argmax(axis=-1) if greedy else None
        value, change = np.zeros(_GRID), np.inf
        while change > _TOLERANCE:
            future = (1 - own.leaving) * np.interp(own.memory * grid, grid, value)
            options = worth(now + (1 - own.leaving) * np.interp(after, grid, value), future)
            chosen = (options.argmax(axis=-1) if best is None else best)[..., None]
            new = np.take_along_axis(options, chosen, axis=-1)[..., 0].mean(axis=1)
            value, change = new, np.abs(new - value).max()
        return float(own.leaving * np.interp(0.0, grid, value))
