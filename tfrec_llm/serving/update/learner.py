"""One batch of feedback -> the next policy: a function of the policy before, the batch and the seed alone.

Each batch starts with a new optimizer, so that a policy's values are all that must be kept, and a replay of the log
comes to the same weights.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfrec_llm import ranking
from tfrec_llm.config import Config
from tfrec_llm.evaluation.policies import (
    NoOverlapError,
    Verdict,
    build_estimator,
    decide,
    effective_sample,
    weigh,
)
from tfrec_llm.ranking.agents.registry import Agent
from tfrec_llm.serving.update.batches import Batch
from tfrec_llm.types import SlateFeedback

HALVINGS = 10
Policy = Mapping[str, np.ndarray]  # values by the names of `bundle.read_policy`


def with_policy(config: Config, run: Path, policy: Policy) -> Agent:
    """The run's agent with other values.

    Raises:
      ValueError: they do not fit it: the run was trained anew since they were exported.
    """
    agent = ranking.load(config, run / "ranking")
    variables = agent.network.variables
    if [tuple(v.shape) for v in variables] != [np.shape(value) for value in policy.values()]:
        raise ValueError(f"{run / 'ranking'}: expected the agent that was exported, got another; run `make export`.")
    for variable, value in zip(variables, policy.values(), strict=True):
        variable.assign(value)
    return agent


def policy_of(agent: Agent) -> dict[str, np.ndarray]:
    """An agent's values by the names of `bundle.read_policy`."""
    return {f"policy/{place}": variable.numpy() for place, variable in enumerate(agent.network.variables)}


def learn(agent: Agent, batch: Batch, config: Config, number: int) -> float:
    """Some passes over a batch, in place.

    Args:
      agent: as `with_policy` gives it.
      batch: [R] decisions with what came of them.
      config: `learn` and `seed` are read.
      number: of the batch, another draw of its order for each.

    Returns:
      The mean loss of its steps.

    Raises:
      ValueError: a loss that is not finite.
    """
    generator, count = np.random.default_rng([config.seed, number]), len(batch.feedback.slate)
    size, losses = min(config.learn.batch_size, count), []
    steps = [tf.function(getattr(agent, name)) for name in ("train", "train_values") if hasattr(agent, name)]
    columns = SlateFeedback(*map(tf.constant, batch.feedback))
    for _ in range(config.learn.passes):
        for rows in generator.permutation(count)[: count // size * size].reshape(-1, size):
            part = SlateFeedback(*(tf.gather(column, rows) for column in columns))
            losses += [float(step(part)) for step in steps]
    if not np.isfinite(losses).all():
        raise ValueError("learning: expected a finite loss, got another; lower ranking.agent.learning_rate.")
    return float(np.mean(losses))


def shorten(agent: Agent, before: Policy, batch: Batch, config: Config) -> float:
    """Halves the step from one policy to the next until the log can speak for where it leads, in place.

    A policy far from those that made the log can't be judged by it, and what it learnt there is guessed: the line
    search of trust-region policy optimisation (Schulman et al., 2015), by effective sample in place of divergence.

    Args:
      agent: has learnt.
      before: the policy that it started from.
      batch: [R] decisions that it learnt from.
      config: `learn.overlap`, `gate` and `ranking` are read.

    Returns:
      The share of the step that is left.
    """
    after, slots = policy_of(agent), build_estimator(config.gate.estimator, "gate.estimator").slots
    share = 1.0
    for _ in range(HALVINGS):
        try:
            weight = weigh(batch.feedback, _probabilities(agent, batch, config), None, slots).weight
            if effective_sample(weight) >= config.learn.overlap * len(weight):
                return share
        except NoOverlapError:
            pass
        share /= 2
        for variable, start, end in zip(agent.network.variables, before.values(), after.values(), strict=True):
            between = start + share * (end.astype(np.float64) - start)
            variable.assign(between.astype(start.dtype))
    return share


def judge(before: Agent, after: Agent, batch: Batch, config: Config) -> Verdict:
    """What the gate says of a policy, on decisions that it did not learn from."""
    ours, new = (_probabilities(agent, batch, config) for agent in (before, after))
    return decide(batch.feedback, ours, new, config.gate, seed=config.seed)


def _probabilities(agent: Agent, batch: Batch, config: Config) -> np.ndarray:
    """[R, n, K] what an agent would have shown."""
    settings = config.ranking
    return ranking.logged_probabilities(
        agent, batch.feedback, batch.allowed, settings.exploration_floor, settings.explore_top
    )
