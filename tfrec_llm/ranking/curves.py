"""What TensorBoard shows of an agent's decisions: exploration, propensities, diversity, what a reward is made of.

Pure functions on arrays; `write` alone touches a file.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrec_llm.ranking.agents.registry import Agent
from tfrec_llm.ranking.exploration import Draw, fill_slate
from tfrec_llm.types import Candidates


class Decided(NamedTuple):
    """Some decisions, summed up."""

    exploration: float  # see `exploration_share`
    propensities: np.ndarray  # [filled slots]
    diversity: float  # see `slate_diversity`
    shares: Mapping[str, float]  # see `reward_shares`


def sum_up(
    draw: Draw, scores: np.ndarray, candidates: Candidates, parts: Mapping[str, np.ndarray] | None = None
) -> Decided:
    """What is worth looking at in some decisions.

    Args:
      draw: [B, n] filled slates.
      scores: [B, K] of the agent.
      candidates: [B, K].
      parts: name of a part of the reward -> its values of what was shown, any shape; None = a reward of one part.
    """
    positions, propensities = np.asarray(draw.positions), np.asarray(draw.propensities)
    return Decided(
        exploration_share(positions, np.asarray(scores), np.asarray(candidates.allowed)),
        propensities[positions >= 0],
        slate_diversity(positions, np.asarray(candidates.features)),
        reward_shares(parts or {}),
    )


def exploration_share(positions: np.ndarray, scores: np.ndarray, allowed: np.ndarray) -> float:
    """Share of the filled slots that hold an item with a lower score than the best of what was left.

    Args:
      positions: [B, n] in K, -1 where a slot stayed empty.
      scores: [B, K].
      allowed: [B, K] bool.

    Returns:
      In [0, 1]; nan where no slot is filled.
    """
    remaining, explored, filled = allowed.copy(), 0, positions >= 0
    rows = np.arange(len(positions))
    for slot, place in enumerate(np.maximum(positions, 0).T):
        best = np.where(remaining, scores, -np.inf).max(axis=1, initial=-np.inf)
        explored += int(((scores[rows, place] < best) & filled[:, slot]).sum())
        remaining[rows[filled[:, slot]], place[filled[:, slot]]] = False
    return explored / filled.sum() if filled.any() else float("nan")


def slate_diversity(positions: np.ndarray, features: np.ndarray) -> float:
    """How unlike the items of a slate are: mean over its pairs of 1 - cosine of their features.

    Args:
      positions: [B, n] in K, -1 where a slot stayed empty.
      features: [B, K, F].

    Returns:
      In [0, 2]; nan where no slate has two items.
    """
    shown = np.take_along_axis(features, np.maximum(positions, 0)[..., None], axis=1)  # [B, n, F]
    unit = shown / np.maximum(np.linalg.norm(shown, axis=-1, keepdims=True), 1e-9)
    pairs = (positions >= 0)[:, :, None] & (positions >= 0)[:, None, :] & ~np.eye(positions.shape[1], dtype=bool)
    unlike = 1 - np.einsum("bif,bjf->bij", unit, unit)
    return float(unlike[pairs].mean()) if pairs.any() else float("nan")


def reward_shares(parts: Mapping[str, np.ndarray]) -> dict[str, float]:
    """What share of the reward each part has: of the sum of all parts' sizes, whichever sign they have.

    Args:
      parts: name -> weighted values, any shape.

    Returns:
      Name -> share in [0, 1]; all 0 where nothing was gained or lost.
    """
    sizes = {name: float(np.abs(np.asarray(values, np.float64)).sum()) for name, values in parts.items()}
    total = sum(sizes.values())
    return {name: size / total if total else 0.0 for name, size in sizes.items()}


def decide(
    agent: Agent, context: tf.Tensor, candidates: Candidates, slots: int, floor: float, explore_top: int, seed: int
) -> tuple[Draw, tf.Tensor]:
    """Slates as the agent fills them with its exploration, for looking at: it learns nothing from them.

    Returns:
      The slates [B, slots], and the scores [B, K] behind them.
    """
    scores = agent.scores(context, candidates)
    numbers = tf.random.stateless_uniform([tf.shape(scores)[0], slots], [seed, 0], alg="philox")
    never = tf.zeros_like(candidates.allowed[:, 0])
    rule = agent.rule(context, candidates)
    return fill_slate(scores, candidates.allowed, slots, rule, floor, explore_top, numbers, never), scores


def write(decided: Decided, prefix: str = "") -> None:
    """Scalars and a histogram into the default writer, at its default step; what is nan is left out.

    Args:
      decided: of `sum_up`.
      prefix: what the names begin with.
    """
    scalars = {"exploration": decided.exploration, "slate_diversity": decided.diversity}
    scalars |= {f"reward_share/{name}": share for name, share in decided.shares.items()}
    for name, value in scalars.items():
        if np.isfinite(value):
            tf.summary.scalar(f"{prefix}{name}", value)
    if decided.propensities.size:
        tf.summary.histogram(f"{prefix}propensity", decided.propensities)
