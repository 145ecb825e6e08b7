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
AMPLE = 1.2  # times the effective decisions that the gate wants
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


class DivergedError(ValueError):
    """The loss of a batch is not finite."""


def learn(agent: Agent, batch: Batch, config: Config, number: int, judged: int) -> float:
    """Learns from a batch, in place, and goes as far as the log can speak for the policy.

    What a policy would bring that shows what was never tried is guessed, by it and by the gate: as in trust-region
    policy optimisation (Schulman et al., 2015) the batch gives the direction, and a search back along it the length.
    The policy must stay near the one before, and near enough to the log that the gate will find evidence; both are
    effective samples, of the new policy under the old one and under those that logged.

    The events of a log teach rewards, not what slates are worth over whole sessions: an agent with a head for those
    (`train_values`) keeps it as practice left it. Trained on single events it unlearns what keeps users.

    Args:
      agent: as `with_policy` gives it.
      batch: [R] decisions with what came of them.
      config: `learn`, `gate`, `ranking` and `seed` are read.
      number: of the batch, another draw of its order for each.
      judged: decisions that the gate will look at.

    Returns:
      The share of the way that was gone, 0 = the policy stayed as it was.

    Raises:
      DivergedError: a loss that is not finite.
    """
    settings, count = config.learn, len(batch.feedback.slate)
    generator, size = np.random.default_rng([config.seed, number]), min(settings.batch_size, count)
    some = np.sort(generator.permutation(count)[:LOOKED_AT])
    looked_at = Batch(SlateFeedback(*(part[some] for part in batch.feedback)), batch.allowed[some])
    near = _nearness(agent, looked_at, config, AMPLE * config.gate.min_effective_sample / judged)
    columns, step = SlateFeedback(*map(tf.constant, batch.feedback)), tf.function(agent.train)
    if hasattr(agent, "settle"):
        agent.settle(columns)
    before = policy_of(agent)
    for _ in range(settings.passes):
        for chosen in generator.permutation(count)[: count // size * size].reshape(-1, size):
            if not np.isfinite(float(step(SlateFeedback(*(tf.gather(column, chosen) for column in columns))))):
                raise DivergedError("expected a finite loss, got another; lower ranking.agent.learning_rate")
    return _go_back(agent, before, near)


def _nearness(agent: Agent, batch: Batch, config: Config, evidence: float) -> Callable[[], bool]:
    """What says whether an agent's policy is near what it was, and near the log.

    Args:
      agent: its policy now is the one before.
      batch: [R] decisions to look at.
      config: `learn`, `gate` and `ranking` are read.
      evidence: effective share of the log's decisions that is wanted.
    """
    ask = ranking.logged_function(agent, config.ranking.exploration_floor, config.ranking.explore_top)
    slots = build_estimator(config.gate.estimator, "gate.estimator").slots
    shown = np.maximum(batch.feedback.slate, 0)[..., None]
    before = np.take_along_axis(ask(batch.feedback, batch.allowed), shown, 2)[..., 0]
    own = batch.feedback._replace(propensities=np.clip(before, 1e-6, 1.0))

    def near() -> bool:
        policy = ask(batch.feedback, batch.allowed)
        try:
            shares = [effective_sample(weigh(log, policy, None, slots).weight) for log in (own, batch.feedback)]
        except NoOverlapError:
            return False
        return shares[0] >= config.learn.overlap * len(before) and shares[1] >= evidence * len(before)

    return near


def _go_back(agent: Agent, before: Policy, near: Callable[[], bool]) -> float:
    """Goes back towards the values before until the policy is near enough; the share of the way that is left."""
    after, share = policy_of(agent), 1.0
    for _ in range(SHORTER):
        if near():
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
