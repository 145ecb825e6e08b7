"""The agent practises on simulated users: whole sessions with the trainer, never with the judge.

Comes after the replay of logged rows. After each round the greedy slates are judged on the stopping rows again; a round
that costs more than `session_tolerance` of the blend's NDCG is undone, and practice ends.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfrec_llm.config import Ranking
from tfrec_llm.ranking.agents.registry import Agent
from tfrec_llm.ranking.exploration import Draw, fill_slate
from tfrec_llm.ranking.objectives import Parts, shares
from tfrec_llm.ranking.simulators.played import Asked, Decided, Policy, Step, Visitors, steps
from tfrec_llm.ranking.simulators.world import Sessions
from tfrec_llm.types import Candidates, SlateFeedback

_log = logging.getLogger(__name__)
Observe = Callable[[Asked], tuple[tf.Tensor, Candidates]]  # -> context [B, C], candidates [B, K]
_PASSES = 4  # over all that was practised, after each round


class Practice(NamedTuple):
    """With whom, and what the agent sees of them."""

    sessions: Sessions  # over the trainer's tables
    visitors: Visitors  # users who may come
    observe: Observe
    event: int  # what an item taken looks like in a history


class Round(NamedTuple):
    """What a round brought."""

    reward: float  # mean reward of a request
    loss: float  # mean loss of the steps
    shares: Mapping[str, float]  # of each objective in the reward


def practise(
    agent: Agent, practice: Practice, settings: Ranking, seed: int, keeps: Callable[[], bool]
) -> Iterator[Round]:
    """Plays rounds of sessions and learns from each, until one costs too much.

    Args:
      agent: is trained in place: its `train_values` by all rounds, or, where it has none, its `train` by the last.
      practice: see `Practice`.
      settings: the section `ranking`.
      seed: of visitors and luck.
      keeps: whether the agent's greedy slates are still good enough.

    Yields:
      One `Round` for each round that was kept.
    """
    generator, train, past = np.random.default_rng([seed, 9]), _learner(agent), []
    compact, discount = hasattr(agent, "train_values"), getattr(agent, "discount", 0.0)
    policy = learning_policy(agent, practice.observe, settings)
    count = len(practice.visitors.user)
    for number in tqdm(range(settings.simulate_sessions), desc="practice", unit="round", leave=False):
        rows = generator.permutation(count)[: settings.session_users]
        visitors = tf.nest.map_structure(lambda column, rows=rows: column[rows], practice.visitors)
        played = list(steps(practice.sessions, policy, visitors, practice.event, seed * 1000 + number))
        past = past if compact else []
        past.append(_feedback(played, discount, practice.sessions.requests, compact))
        kept = [variable.numpy() for variable in agent.network.variables]
        losses = _learn(train, past, settings.batch_size, generator)
        if not keeps():
            for variable, value in zip(agent.network.variables, kept, strict=True):
                variable.assign(value)
            _log.info("ranking: practice ends after %d rounds: another would cost too much of the NDCG", number)
            return
        reward, *parts = (
            np.concatenate(columns)
            for columns in zip(*((step.outcome.reward, *step.outcome.parts) for step in played), strict=True)
        )
        told = shares(Parts(*parts), practice.sessions.objectives)
        yield Round(float(reward.mean()), float(np.mean(losses)), told)


def learning_policy(agent: Agent, observe: Observe, settings: Ranking) -> Policy:
    """The agent with as much exploration as in the replay, and all that it is to learn from."""

    @tf.function(reduce_retracing=True)
    def decide(asked: Asked, numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, Candidates, Draw]:
        context, candidates = observe(asked)
        scores, n = (
            agent.scores(context, candidates),
            min(settings.slate, candidates.item_ids.shape[1] or settings.slate),
        )
        draw = fill_slate(
            scores, candidates.allowed, n, agent.rule(context, candidates), settings.replay_exploration,
            settings.explore_top, numbers, tf.zeros_like(candidates.allowed[:, 0]),
        )  # fmt: skip
        shown = tf.gather(candidates.item_ids, tf.maximum(draw.positions, 0), batch_dims=1)
        return tf.where(draw.positions >= 0, shown, 0), candidates.item_ids[:, :n], context, candidates, draw

    generator = np.random.default_rng(0)

    def policy(asked: Asked) -> Decided:
        numbers = generator.random((asked.time.shape[0], settings.slate), dtype=np.float32)
        slate, first, context, candidates, draw = decide(asked, tf.constant(numbers))
        return Decided(slate, first, (context, candidates, draw))

    return policy


def returns(rewards: np.ndarray, requests: int) -> np.ndarray:
    """Mean reward of the requests to come.

    Args:
      rewards: [T, B] of each request, 0 after a user left.
      requests: in a session at most.

    Returns:
      [T, B]: sum of the rewards after each request over the number of requests that could come; 0 for the last.
    """
    after = np.cumsum(rewards[::-1], axis=0)[::-1] - rewards
    left = np.maximum(requests - 1 - np.arange(len(rewards)), 1)
    return after / left[:, None]


def _feedback(played: list[Step], discount: float, requests: int, compact: bool) -> SlateFeedback:
    """All decisions of a round; compact, of the candidates only those shown, which is all that values learn from."""
    rewards, parts = np.zeros((len(played), len(played[0].rows)), np.float32), []
    for row, step in zip(rewards, played, strict=True):
        row[step.rows] = step.outcome.reward.numpy()
    for step, future in zip(played, returns(rewards, requests), strict=True):
        context, candidates, draw = step.decided.situation
        features, place = candidates.features, draw.positions
        if compact:
            features = tf.gather(features, tf.maximum(place, 0), batch_dims=1)  # [B, n, F]
            place = tf.broadcast_to(tf.range(tf.shape(place)[1]), tf.shape(place))
        filled = draw.positions >= 0
        reward = (1 - discount) * step.outcome.credits + discount * future[step.rows, None].astype(np.float32)
        slate, reward = tf.where(filled, place, -1), tf.where(filled, reward, 0.0)
        parts.append(SlateFeedback(context, features, slate, reward, draw.propensities))
    return SlateFeedback(*(tf.concat(columns, axis=0) for columns in zip(*parts, strict=True)))


def _learner(agent: Agent) -> Callable[[SlateFeedback], tf.Tensor]:
    return tf.function(getattr(agent, "train_values", agent.train), reduce_retracing=True)


def _learn(train: Callable, past: list[SlateFeedback], size: int, generator: np.random.Generator) -> list[float]:
    """Steps on all that was practised, several times over."""
    everything = SlateFeedback(*(tf.concat(columns, axis=0) for columns in zip(*past, strict=True)))
    count = everything.context.shape[0]
    size = min(size, count)
    losses = []
    for _ in range(_PASSES):
        for rows in generator.permutation(count)[: count // size * size].reshape(-1, size):
            losses.append(float(train(SlateFeedback(*(tf.gather(column, rows) for column in everything)))))
    return losses
