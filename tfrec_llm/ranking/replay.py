"""The replay: an agent shows slates for logged rows whose answers are known, and learns from what it showed.

One pass is one call of one `tf.function`, a loop over batches in graph; passes are an endless generator, whose length
the caller decides. The agent only ever learns the rewards of what it showed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrec_llm.ranking.agents.registry import Agent
from tfrec_llm.ranking.exploration import Draw, fill_slate
from tfrec_llm.types import Candidates, SlateFeedback


class Logged(NamedTuple):
    """Rows with known answers, as tensors."""

    context: tf.Tensor  # [R, C]
    candidates: Candidates  # [R, K]
    reward: tf.Tensor  # [R, K] what showing the candidate would have brought


@dataclass(frozen=True)
class Showing:
    """How slates are filled while replaying."""

    slate: int  # n
    floor: float  # share of uniform exploration
    explore_top: int  # over so many candidates
    batch_size: int  # rows per step


class Pass(NamedTuple):
    """What a pass brought."""

    reward: float  # mean reward of a slate (sum over its slots)
    loss: float  # mean loss of the steps


def passes(
    agent: Agent, rows: Logged, showing: Showing, generator: np.random.Generator, jit_compile: bool = False
) -> Iterator[Pass]:
    """Replays the rows again and again, each pass in a new order, while the agent learns.

    Args:
      agent: is trained in place.
      rows: what is replayed.
      showing: how slates are filled.
      generator: for orders and slates.
      jit_compile: whether the steps are compiled by XLA.

    Yields:
      One `Pass` for each pass, without end.
    """
    count = rows.reward.shape[0]
    size = min(showing.batch_size, count)
    replay = replay_function(agent, rows, showing, jit_compile)
    while True:
        order = generator.permutation(count)[: count // size * size].reshape(-1, size).astype(np.int32)
        numbers = generator.random((*order.shape, showing.slate), dtype=np.float32)
        yield Pass(*(float(part) for part in replay(tf.constant(order), tf.constant(numbers))))


def replay_function(agent: Agent, rows: Logged, showing: Showing, jit_compile: bool) -> Callable:
    """One pass in graph. Its random numbers come from outside: XLA's are others than TensorFlow's.

    Returns:
      A tf.function: order [steps, size] of rows and numbers [steps, size, n] in [0, 1) -> mean reward of a slate, mean
      loss.
    """

    @tf.function(jit_compile=jit_compile)
    def replay(order: tf.Tensor, numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        reward, loss = tf.constant(0.0), tf.constant(0.0)
        for step in tf.range(tf.shape(order)[0]):
            batch = tf.nest.map_structure(lambda t, chosen=order[step]: tf.gather(t, chosen), rows)
            feedback = show(agent, batch, showing, numbers[step])
            loss += agent.train(feedback)
            reward += tf.reduce_mean(tf.reduce_sum(feedback.rewards, axis=1))
        steps = tf.cast(tf.shape(order)[0], tf.float32)
        return reward / steps, loss / steps

    return replay


def show(agent: Agent, rows: Logged, showing: Showing, numbers: tf.Tensor) -> SlateFeedback:
    """The agent fills a slate for each row and is told what came of it; one that learns from logs reads what was taken.

    Args:
      agent: gives scores and rule.
      rows: [B] rows.
      showing: how slates are filled.
      numbers: [B, n] in [0, 1) that decide the draw.
    """
    if agent.from_logs:
        return taken(rows)
    scores = agent.scores(rows.context, rows.candidates)  # [B, K]
    rule = agent.rule(rows.context, rows.candidates)
    never = tf.zeros([tf.shape(scores)[0]], tf.bool)
    allowed = rows.candidates.allowed
    draw = fill_slate(scores, allowed, showing.slate, rule, showing.floor, showing.explore_top, numbers, greedy=never)
    return slate_feedback(rows.context, rows.candidates, rows.reward, draw)


def taken(rows: Logged) -> SlateFeedback:
    """The log itself: slates of the one candidate that brought most, empty where none brought anything."""
    best = tf.argmax(rows.reward, axis=1, output_type=tf.int32)
    reward = tf.reduce_max(rows.reward, axis=1)
    position = tf.where(reward > 0, best, -1)[:, None]
    return SlateFeedback(
        rows.context, rows.candidates.features, position, reward[:, None], tf.ones_like(reward)[:, None]
    )


def slate_feedback(context: tf.Tensor, candidates: Candidates, reward: tf.Tensor, draw: Draw) -> SlateFeedback:
    """What was shown and what came of it, in the form that every agent learns from.

    Args:
      context: [R, C].
      candidates: [R, K].
      reward: [R, K] what showing each candidate brings; only that of shown ones is handed on.
      draw: [R, n] filled slates.
    """
    shown = tf.gather(reward, tf.maximum(draw.positions, 0), batch_dims=1)  # [R, n]
    rewards = tf.where(draw.positions >= 0, shown, 0.0)
    return SlateFeedback(context, candidates.features, draw.positions, rewards, draw.propensities)


@tf.function(reduce_retracing=True)
def slate_quality(scores: tf.Tensor, allowed: tf.Tensor, reward: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """How good the greedy slate is.

    Args:
      scores: [R, K] of the agent.
      allowed: [R, K] bool.
      reward: [R, K] not negative.
      k: slots.

    Returns:
      NDCG@k with rewards as gains, [R], 0 for rows without any reward; and the slate's reward (sum of its slots), [R].
    """
    k = tf.minimum(k, tf.shape(scores)[1])
    reward = tf.where(allowed, reward, 0.0)
    best = tf.math.top_k(tf.where(allowed, scores, scores.dtype.min), k).indices  # ties: the first candidate
    gains, ideal = tf.gather(reward, best, batch_dims=1), tf.math.top_k(reward, k).values  # [R, k]
    discounts = tf.math.log(2.0) / tf.math.log(tf.cast(tf.range(2, k + 2), tf.float32))  # [k]
    ndcg = tf.math.divide_no_nan(tf.linalg.matvec(gains, discounts), tf.linalg.matvec(ideal, discounts))
    return ndcg, tf.reduce_sum(gains, axis=1)
