"""The shared sampler: turns an agent's scores and its rule into slates with known propensities.

Used by the ranker's training, by simulation and by the export, where it runs as a part of the graph: core operations
only, batched, and a row gets the same slate alone and in a batch. A slate is filled slot by slot without replacement;
over the remaining allowed candidates the probabilities of each slot sum to one.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import tensorflow as tf

_KEYS = ([0x243F6A88, 0x85A308D3], [0x13198A2E, 0x03707344])  # digits of pi: fixed, so that processes agree
_LOWEST = -1e30  # below every score, and still finite when divided by a small temperature


class Rule(Protocol):
    """How an agent turns scores into the probabilities of one slot."""

    def probabilities(self, scores: tf.Tensor, remaining: tf.Tensor) -> tf.Tensor:
        """The probability of each candidate in the next slot.

        Args:
          scores: [B, K] predicted rewards.
          remaining: [B, K] bool, allowed and not yet in the slate.

        Returns:
          [B, K] sums to one over the remaining candidates; all 0 where none remains.
        """


@dataclass(frozen=True)
class Greedy:
    """Always the best remaining candidate; the first of equals."""

    def probabilities(self, scores: tf.Tensor, remaining: tf.Tensor) -> tf.Tensor:
        """See `Rule`."""
        return _best(scores, remaining)


@dataclass(frozen=True)
class EpsilonGreedy:
    """The best remaining candidate, but with probability `epsilon` any remaining one."""

    epsilon: float

    def __post_init__(self):
        if not 0 <= self.epsilon <= 1:
            raise ValueError(f"expected epsilon in [0, 1], got {self.epsilon}: it is a probability.")

    def probabilities(self, scores: tf.Tensor, remaining: tf.Tensor) -> tf.Tensor:
        """See `Rule`."""
        return (1 - self.epsilon) * _best(scores, remaining) + self.epsilon * _uniform(remaining)


@dataclass(frozen=True)
class Boltzmann:
    """A softmax of scores / `temperature` over the remaining candidates."""

    temperature: float

    def __post_init__(self):
        if not self.temperature >= 1e-6:
            raise ValueError(f"expected a temperature of at least 1e-6, got {self.temperature}; Greedy() is its limit.")

    def probabilities(self, scores: tf.Tensor, remaining: tf.Tensor) -> tf.Tensor:
        """See `Rule`."""
        logits = tf.where(remaining, scores, _LOWEST) / self.temperature  # [B, K]
        weights = tf.exp(logits - tf.reduce_max(logits, axis=-1, keepdims=True)) * _float(remaining)
        return tf.math.divide_no_nan(weights, tf.reduce_sum(weights, axis=-1, keepdims=True))


@dataclass(frozen=True, eq=False)
class Optimistic:
    """The remaining candidate whose score plus bonus is best: an upper confidence bound.

    bonus: [B, K] not negative.
    """

    bonus: tf.Tensor

    def probabilities(self, scores: tf.Tensor, remaining: tf.Tensor) -> tf.Tensor:
        """See `Rule`."""
        return _best(scores + self.bonus, remaining)


@dataclass(frozen=True, eq=False)
class Sampled:
    """Thompson sampling: each candidate as often as it is the best remaining one under a draw of the scores.

    deviations: [B, K, M] of M draws from the scores. A probability p so found has the standard error
    sqrt(p (1 - p) / M).
    """

    deviations: tf.Tensor

    def probabilities(self, scores: tf.Tensor, remaining: tf.Tensor) -> tf.Tensor:
        """See `Rule`."""
        drawn = tf.where(remaining[..., None], scores[..., None] + self.deviations, 2 * _LOWEST)  # [B, K, M]
        wins = tf.one_hot(tf.argmax(drawn, axis=1), tf.shape(scores)[1])  # [B, M, K]
        return tf.reduce_mean(wins, axis=1) * _float(remaining)


class Draw(NamedTuple):
    """A filled slate."""

    positions: tf.Tensor  # [B, n] int32 positions in K, -1 where nothing was left
    propensities: tf.Tensor  # [B, n] probability of that candidate in that slot given the slots above, 0 for -1
    probabilities: tf.Tensor  # [B, n, K] of every candidate in every slot


def uniforms(request_id: tf.Tensor, slots: int | tf.Tensor) -> tf.Tensor:
    """Random numbers that depend on the request only: equal ids get equal numbers in every process and batch.

    Args:
      request_id: [B] strings.
      slots: how many numbers a row needs; asking for more does not change the first ones.

    Returns:
      [B, slots] uniform in [0, 1).
    """
    seeds = tf.stack([tf.strings.to_hash_bucket_strong(request_id, 2**62, key) for key in _KEYS], axis=-1)  # [B, 2]
    width = tf.reshape(slots, [1])

    def draw(seed: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_uniform(width, seed, alg="philox")

    rows = tf.map_fn(draw, seeds, fn_output_signature=tf.TensorSpec([None], tf.float32))
    return tf.ensure_shape(rows, [None, slots if isinstance(slots, int) else None])


def fill_slate(
    scores: tf.Tensor,
    allowed: tf.Tensor,
    n: int | tf.Tensor,
    rule: Rule,
    floor: float,
    explore_top: int,
    uniforms: tf.Tensor,
    greedy: tf.Tensor,
) -> Draw:
    """Fills slates slot by slot without replacement.

    Each slot is drawn from (1 - floor) x rule + floor x uniform over the first `explore_top` remaining allowed
    candidates in candidate order, which keeps every propensity there above zero even for a deterministic agent.

    Args:
      scores: [B, K] predicted rewards, in candidate order; a score that is not finite ranks last.
      allowed: [B, K] bool; what is not allowed is never shown.
      n: number of slots, an int or a scalar tensor.
      rule: the agent's exploration rule.
      floor: share of the uniform exploration, in [0, 1].
      explore_top: how many candidates the floor reaches.
      uniforms: [B, at least n] numbers in [0, 1), see `uniforms`.
      greedy: [B] bool; such rows get the best candidates with propensity 1.

    Returns:
      positions, propensities and slot probabilities.
    """
    check_floor(floor, explore_top)
    if isinstance(n, int) and uniforms.shape[1] is not None and uniforms.shape[1] < n:
        raise ValueError(f"expected at least {n} uniforms per row, got {uniforms.shape[1]}: draw one for each slot.")
    scores = tf.where(tf.math.is_finite(scores), tf.cast(scores, tf.float32), _LOWEST)
    positions = tf.TensorArray(tf.int32, n, element_shape=scores.shape[:1])
    probabilities = tf.TensorArray(tf.float32, n, element_shape=scores.shape)

    def fill(slot, remaining, positions, probabilities):
        p = slot_probabilities(scores, remaining, rule, floor, explore_top, greedy)  # [B, K]
        chosen = _sample(p, uniforms[:, slot])  # [B]
        remaining &= tf.range(tf.shape(scores)[1]) != chosen[:, None]
        return slot + 1, remaining, positions.write(slot, chosen), probabilities.write(slot, p)

    state = (0, allowed, positions, probabilities)
    _, _, positions, probabilities = tf.while_loop(lambda slot, *_: slot < n, fill, state)
    positions, probabilities = tf.transpose(positions.stack()), tf.transpose(probabilities.stack(), [1, 0, 2])
    index = tf.maximum(positions, 0)[..., None]  # [B, n, 1]
    propensities = tf.squeeze(tf.gather(probabilities, index, batch_dims=2), -1) * _float(positions >= 0)
    return Draw(positions, propensities, probabilities)


def slot_probabilities(
    scores: tf.Tensor, remaining: tf.Tensor, rule: Rule, floor: float, explore_top: int, greedy: tf.Tensor
) -> tf.Tensor:
    """The probabilities of one slot: the rule, mixed with the floor; one-hot for greedy rows.

    Args:
      scores: [B, K] finite predicted rewards.
      remaining: [B, K] bool, allowed and not yet in the slate.
      rule: the agent's exploration rule.
      floor: share of the uniform exploration.
      explore_top: how many of the remaining candidates the floor reaches.
      greedy: [B] bool.

    Returns:
      [B, K] sums to one over the remaining candidates; all 0 where none remains.
    """
    reached = remaining & (tf.cumsum(tf.cast(remaining, tf.int32), axis=-1) <= explore_top)
    explored = (1 - floor) * rule.probabilities(scores, remaining) + floor * _uniform(reached)
    return tf.where(greedy[:, None], _best(scores, remaining), explored)


def check_floor(floor: float, explore_top: int) -> None:
    """Refuses a floor or a reach that is not one.

    Raises:
      ValueError: `floor` outside [0, 1] or `explore_top` below 1.
    """
    if not 0 <= floor <= 1 or explore_top < 1:
        raise ValueError(
            f"expected a floor in [0, 1] and explore_top of at least 1, got {floor} and {explore_top}: "
            "see ranking.exploration_floor and ranking.explore_top."
        )


def _sample(probabilities: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    """Positions [B] by inverting the cumulative probabilities [B, K] at `uniform` [B]; -1 where all are 0."""
    cumulative = tf.cumsum(probabilities, axis=-1)
    target = uniform[:, None] * cumulative[:, -1:]
    reached = (cumulative > target) & (probabilities > 0)
    # Rounding can put the target onto the total: then the last candidate with a probability is the one meant.
    last = tf.shape(probabilities)[1] - 1 - _first(tf.reverse(probabilities > 0, [-1]))
    chosen = tf.where(tf.reduce_any(reached, axis=-1), _first(reached), last)
    return tf.where(tf.reduce_any(probabilities > 0, axis=-1), chosen, -1)


def _first(flags: tf.Tensor) -> tf.Tensor:
    return tf.argmax(tf.cast(flags, tf.int32), axis=-1, output_type=tf.int32)


def _best(scores: tf.Tensor, remaining: tf.Tensor) -> tf.Tensor:
    best = tf.argmax(tf.where(remaining, scores, 2 * _LOWEST), axis=-1)
    return tf.one_hot(best, tf.shape(scores)[1]) * _float(remaining)


def _uniform(remaining: tf.Tensor) -> tf.Tensor:
    return tf.math.divide_no_nan(_float(remaining), tf.reduce_sum(_float(remaining), axis=-1, keepdims=True))


def _float(flags: tf.Tensor) -> tf.Tensor:
    return tf.cast(flags, tf.float32)
