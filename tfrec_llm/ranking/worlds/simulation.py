"""An agent meets a world: shows one item to each user, is told the reward and learns, round after round, in graph."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfrec_llm.config import Component, Config, choose
from tfrec_llm.evaluation import entry
from tfrec_llm.ranking import curves
from tfrec_llm.ranking.agents.registry import Agent, build_agent
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.ranking.exploration import Draw, fill_slate
from tfrec_llm.ranking.worlds.environments import WORLDS, World
from tfrec_llm.ranking.worlds.interest import InterestSettings, InterestWorld
from tfrec_llm.ranking.worlds.interest_slates import InterestSlates, InterestSlatesSettings
from tfrec_llm.ranking.worlds.sessions import SessionWorld, decisions_of, session_rounds, slate_of
from tfrec_llm.types import Candidates, SlateFeedback

_log = logging.getLogger(__name__)
SESSION_WORLDS = {  # users come back, and are changed by what is shown
    "interest": (InterestSettings, InterestWorld),
    "interest_slates": (InterestSlatesSettings, InterestSlates),
}
_CHUNK = 50  # rounds in one call of the graph
TEACHER = Component("neural_epsilon_greedy", {"epsilon": 0.3})  # whose log agents read that learn from logs alone


class Simulation(NamedTuple):
    """What came of it, round by round; everything but `per_second` is a mean over the round's users."""

    reward: np.ndarray  # [rounds] expected reward of what the agent showed
    random: np.ndarray  # [rounds] expected reward of an item chosen at random
    optimum: np.ndarray  # [rounds] expected reward of the best item
    per_second: float  # interactions, with learning, the first call (tracing) left out where there are more
    decided: Mapping[int, curves.Decided]  # round -> decisions on new users after it, from which nothing is learnt

    @property
    def regret(self) -> np.ndarray:
        """[rounds] what the best items would have brought above the agent's."""
        return self.optimum - self.reward


def simulate_agent(world: World | SessionWorld, agent: Agent, users: int, rounds: int, seed: int) -> Simulation:
    """Lets an agent learn in a world. One that learns from logs alone reads those of `TEACHER`, which learns beside it.

    Args:
      world: see `environments`.
      agent: is trained in place.
      users: per round.
      rounds: how many.
      seed: decides users and draws.
    """
    logger = build_agent(TEACHER, agent.shape) if agent.from_logs else agent
    if hasattr(world, "begin"):
        play, decisions = session_rounds(world, agent, users, logger), users * decisions_of(agent)
    else:
        play, decisions = play_function(world, agent, users, logger), users
    chunks, seconds, decided = [], [], {}
    with tqdm(total=rounds, desc=f"simulate {agent.name}", unit="round", leave=False) as bar:
        for first in range(0, rounds, _CHUNK):
            count = min(_CHUNK, rounds - first)
            begin = time.perf_counter()
            chunks.append([part.numpy() for part in play(tf.constant(first), tf.constant(count), tf.constant(seed))])
            seconds.append((time.perf_counter() - begin) / count)
            decided[first + count - 1] = look_at(world, agent, users, seed + first + count)
            bar.update(count)
    means = [np.concatenate(parts) for parts in zip(*chunks, strict=True)]
    return Simulation(*means, decisions / float(np.median(seconds[1:] or seconds)), decided)


def look_at(world: World | SessionWorld, agent: Agent, users: int, seed: int) -> curves.Decided:
    """What the agent would show new users now.

    A world may have `parts(situation, positions)`: name of a part of the reward -> its values [B] for what is shown.
    """
    drawn = tf.constant([seed, 1])
    situation = world.observe(world.begin(users) if hasattr(world, "begin") else users, drawn)
    expected, allowed = situation.expected, tf.ones_like(situation.expected, tf.bool)
    candidates = Candidates(tf.zeros_like(expected, tf.int32), tf.zeros_like(expected), situation.features, allowed)
    draw, scores = curves.decide(agent, situation.context, candidates, 1, 0.0, world.num_actions, seed)
    positions = draw.positions[:, 0]
    whole = {"reward": tf.gather(expected, positions, batch_dims=1)}
    return curves.sum_up(
        draw, scores, candidates, world.parts(situation, positions) if hasattr(world, "parts") else whole
    )


def play_function(world: World, agent: Agent, users: int, logger: Agent) -> tf.types.experimental.PolymorphicFunction:
    """Some rounds in graph, see `play_round`.

    Returns:
      A tf.function: first round, number of rounds, seed -> mean rewards of agent, random and optimum, [rounds] each.
    """

    @tf.function(reduce_retracing=True)
    def play(first: tf.Tensor, count: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        curves = [tf.TensorArray(tf.float32, count) for _ in range(3)]
        for i in tf.range(count):
            means = play_round(world, agent, users, seed, first + i, logger)
            curves = [curve.write(i, mean) for curve, mean in zip(curves, means, strict=True)]
        return tuple(curve.stack() for curve in curves)

    return play


def play_round(
    world: World, agent: Agent, users: int, seed: tf.Tensor, number: tf.Tensor, logger: Agent
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """One item for each user, one step of learning.

    Args:
      world: where.
      agent: who is judged and learns.
      users: how many.
      seed: decides users and draws, together with `number`.
      number: of the round.
      logger: who shows and learns too: the agent itself, or the one whose log it reads.

    Returns:
      Mean expected rewards of what the agent shows, of random and of the optimum.
    """
    seeds = tf.random.split(tf.stack([seed, number]), 3, alg="philox")
    context, features, expected = world.observe(users, seeds[0], number)
    allowed = tf.ones_like(expected, tf.bool)
    candidates = Candidates(tf.zeros_like(expected, tf.int32), tf.zeros_like(expected), features, allowed)
    numbers, never = tf.random.stateless_uniform([users, 1], seeds[1], alg="philox"), tf.zeros([users], tf.bool)

    def show(who: Agent) -> Draw:
        scores, rule = who.scores(context, candidates), who.rule(context, candidates)
        return fill_slate(scores, allowed, 1, rule, 0.0, world.num_actions, numbers, never)

    own = show(agent)
    logged = own if logger is agent else show(logger)
    reward = world.reward(tf.gather(expected, logged.positions, batch_dims=1), seeds[2])
    feedback = SlateFeedback(context, features, logged.positions, reward, logged.propensities)
    for who in dict.fromkeys((agent, logger)):
        who.train(feedback)
    shown = tf.gather(expected, own.positions, batch_dims=1)  # [B, 1]
    return tf.reduce_mean(shown), tf.reduce_mean(expected), tf.reduce_mean(tf.reduce_max(expected, axis=1))


def simulate(config: Config, world: str, logs: Path) -> dict[str, dict]:
    """The config's agent in one world, by name.

    Args:
      config: `simulate`, `ranking.agent` and `seed` are read.
      world: a name in WORLDS.
      logs: TensorBoard folder for the curves.

    Returns:
      Metric key -> entry: reward, regret and share of the optimum's reward over the last tenth of the rounds, of the
      agent and of random; and the agent's interactions per second, learning included.

    Raises:
      ConfigError: no such world or agent.
    """
    settings, builder = choose({**WORLDS, **SESSION_WORLDS}, Component(world), "simulate.worlds")
    place, name = builder(settings, config.seed), config.ranking.agent.name
    agent = build_agent(
        config.ranking.agent,
        AgentShape(place.context_dim, place.feature_dim, place.num_actions, -1, config.seed, slate_of(place)),
    )
    result = simulate_agent(place, agent, config.simulate.users, config.simulate.rounds, config.seed)
    _log.info("simulate: %s in %s: %.0f interactions/s with learning", name, world, result.per_second)
    _write_curves(result, logs / world / name)
    last = slice(-max(len(result.reward) // 10, 1), None)
    metrics = {}
    for who, reward in ((name, result.reward), ("random", result.random)):
        count = config.simulate.users * len(reward[last])
        metrics[f"ranking.{world}.{who}.reward"] = entry(reward[last].mean(), count, "simulation")
        optimum = result.optimum[last].mean()
        metrics[f"ranking.{world}.{who}.regret"] = entry(optimum - reward[last].mean(), count, "simulation")
        metrics[f"ranking.{world}.{who}.optimum_share"] = entry(reward[last].mean() / optimum, count, "simulation")
    played = config.simulate.users * config.simulate.rounds
    metrics[f"ranking.{world}.{name}.per_second"] = entry(result.per_second, played, "simulation")
    return metrics


def _write_curves(result: Simulation, logs: Path) -> None:
    writer = tf.summary.create_file_writer(str(logs))
    with writer.as_default():
        for number, (reward, regret) in enumerate(zip(result.reward, result.regret, strict=True)):
            tf.summary.scalar("reward", reward, step=number)
            tf.summary.scalar("regret", regret, step=number)
        for number, decided in result.decided.items():
            tf.summary.experimental.set_step(number)
            curves.write(decided)
    writer.close()
