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

SHORTENED, SHORTER, LOOKED_AT = 0.7, 16, 512  # a way that is too far, so often at most; decisions that nearness is of
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
    """Learns from a batch, in place, and goes as far as the policy stays near the one before.

    What a policy far from that one would bring is guessed, by it and by the gate: as in trust-region policy
    optimisation (Schulman et al., 2015) the batch gives the direction, and a search back along it the length. Nearness
    is the effective sample of the new policy under the old one.

    The events of a log teach rewards, not what slates are worth over whole sessions: an agent with a head for those
    (`train_values`) keeps it as practice left it. Trained on single events it unlearns what keeps users.

    Args:
      agent: as `with_policy` gives it.
      batch: [R] decisions with what came of them.
      config: `learn`, `gate`, `ranking` and `seed` are read.
      number: of the batch, another draw of its order for each.

    Returns:
      The share of the way that was gone, 0 = the policy stayed as it was.

    Raises:
      ValueError: a loss that is not finite.
    """
    settings, count = config.learn, len(batch.feedback.slate)
    generator, size = np.random.default_rng([config.seed, number]), min(settings.batch_size, count)
    some = np.sort(generator.permutation(count)[:LOOKED_AT])
    near = _nearness(agent, Batch(SlateFeedback(*(part[some] for part in batch.feedback)), batch.allowed[some]), config)
    columns, step = SlateFeedback(*map(tf.constant, batch.feedback)), tf.function(agent.train)
    if hasattr(agent, "settle"):
        agent.settle(columns)
    before = policy_of(agent)
    for _ in range(settings.passes):
        for chosen in generator.permutation(count)[: count // size * size].reshape(-1, size):
            if not np.isfinite(float(step(SlateFeedback(*(tf.gather(column, chosen) for column in columns))))):
                raise ValueError("learning: expected a finite loss, got another; lower ranking.agent.learning_rate.")
    return _go_back(agent, before, near, settings.overlap)


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


def _go_back(agent: Agent, before: Policy, near: Callable[[], float], least: float) -> float:
    """Goes back towards the values before until the policy is near enough; the share of the way that is left."""
    after, share = policy_of(agent), 1.0
    for _ in range(SHORTER):
        if near() >= least:
            return share
        share *= SHORTENED
        for variable, start, end in zip(agent.network.variables, before.values(), after.values(), strict=True):
            variable.assign((start + share * (end.astype(np.float64) - start)).astype(start.dtype))
    for variable, start in zip(agent.network.variables, before.values(), strict=True):
        variable.assign(start)
    return 0.0


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
