"""One batch of feedback -> the next policy: a function of the policy before, the batch and the seed alone.

Each batch starts with a new optimizer, so that a policy's values are all that must be kept, and a replay of the log
comes to the same weights.
"""

from collections.abc import Callable, Mapping
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

HALVINGS, EVERY, LOOKED_AT = 6, 4, 512  # of a step; steps between two looks, at so many decisions
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


def learn(agent: Agent, batch: Batch, config: Config, number: int) -> int:
    """Steps on a batch, in place, as long as the policy stays near the one before.

    What a policy far from that one would bring is guessed, by it and by the gate: as in trust-region policy
    optimisation (Schulman et al., 2015) a step that leads too far is cut back by halves, and learning ends there.
    Nearness is the effective sample of the new policy under the old one.

    Args:
      agent: as `with_policy` gives it.
      batch: [R] decisions with what came of them.
      config: `learn`, `gate`, `ranking` and `seed` are read.
      number: of the batch, another draw of its order for each.

    Returns:
      How many steps were taken.

    Raises:
      ValueError: a loss that is not finite.
    """
    settings, count = config.learn, len(batch.feedback.slate)
    generator, size = np.random.default_rng([config.seed, number]), min(settings.batch_size, count)
    some = np.sort(generator.permutation(count)[:LOOKED_AT])
    near = _nearness(agent, Batch(SlateFeedback(*(part[some] for part in batch.feedback)), batch.allowed[some]), config)
    rows = [generator.permutation(count)[: count // size * size].reshape(-1, size) for _ in range(settings.passes)]
    steps = [tf.function(getattr(agent, name)) for name in ("train", "train_values") if hasattr(agent, name)]
    columns, kept = SlateFeedback(*map(tf.constant, batch.feedback)), policy_of(agent)
    for done, chosen in enumerate(np.concatenate(rows), start=1):
        part = SlateFeedback(*(tf.gather(column, chosen) for column in columns))
        if not np.isfinite([float(step(part)) for step in steps]).all():
            raise ValueError("learning: expected a finite loss, got another; lower ranking.agent.learning_rate.")
        if done % EVERY and done < sum(map(len, rows)):
            continue
        if near() < settings.overlap:
            _cut_back(agent, kept, near, settings.overlap)
            return done
        kept = policy_of(agent)
    return sum(map(len, rows))


def _nearness(agent: Agent, batch: Batch, config: Config) -> Callable[[], float]:
    """What says how near an agent's policy is to what it was: effective share of decisions, 1 = the same."""
    ask = ranking.logged_function(agent, config.ranking.exploration_floor, config.ranking.explore_top)
    slots = build_estimator(config.gate.estimator, "gate.estimator").slots
    shown = np.maximum(batch.feedback.slate, 0)[..., None]
    before = np.take_along_axis(ask(batch.feedback, batch.allowed), shown, 2)[..., 0]
    log = batch.feedback._replace(propensities=np.clip(before, 1e-6, 1.0))

    def near() -> float:
        try:
            weight = weigh(log, ask(batch.feedback, batch.allowed), None, slots).weight
        except NoOverlapError:
            return 0.0
        return effective_sample(weight) / len(weight)

    return near


def _cut_back(agent: Agent, kept: Policy, near: Callable[[], float], least: float) -> None:
    """Halves the way from values that were near enough to those that are not."""
    after, share = policy_of(agent), 1.0
    for _ in range(HALVINGS):
        share /= 2
        for variable, start, end in zip(agent.network.variables, kept.values(), after.values(), strict=True):
            between = start + share * (end.astype(np.float64) - start)
            variable.assign(between.astype(start.dtype))
        if near() >= least:
            return
    for variable, start in zip(agent.network.variables, kept.values(), strict=True):
        variable.assign(start)


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
