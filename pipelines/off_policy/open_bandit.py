"""One policy's log of the Open Bandit Dataset tells what the other policy brought, which the other's own log shows."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfrec_llm import evaluation
from tfrec_llm.config import Component, setting
from tfrec_llm.data.open_bandit import CAMPAIGNS, POLICIES, OpenBandit, load_open_bandit, thompson_probabilities
from tfrec_llm.evaluation import policies


@dataclass(frozen=True)
class OpenBanditConfig:
    """What a cell of a suite with `upto = "open_bandit"` holds in place of a run's config."""

    seed: int = setting(1, "of the draws, the folds and the resamples", low=0)
    campaign: str = setting("all", "part of the shop", choices=CAMPAIGNS)
    logged: str = setting("random", "whose log is read; the other policy is judged", choices=POLICIES)
    reward_model: Component = setting(Component("ridge"), "a name in tfrec_llm.evaluation.policies.REWARD_MODELS")
    draws: int = setting(1_000_000, "of Thompson sampling, for its probabilities", low=1)
    bootstrap: int = setting(1000, "resamples of an interval", low=10)


def other_policy(log: OpenBandit, logged: str, draws: int, seed: int) -> np.ndarray:
    """[R, 1, K] probabilities of the policy that did not write the log."""
    rounds, items = len(log.position), len(log.alpha)
    if logged == "bts":
        return np.full((rounds, 1, items), 1 / items)
    return thompson_probabilities(log.alpha, log.beta, draws, seed)[log.position][:, None, :]


def study(config: OpenBanditConfig) -> dict[str, Any]:
    """Every estimator beside the truth.

    Returns:
      A report in the form of metrics.json: estimates, their relative errors, the true value and the effective sample.
    """
    with evaluation.measure() as used:
        log = load_open_bandit(config.campaign, config.logged)
        other = next(name for name in POLICIES if name != config.logged)
        clicks = load_open_bandit(config.campaign, other).feedback.rewards[:, 0]
        policy = other_policy(log, config.logged, config.draws, config.seed)
        predicted = policies.cross_fitted(log.feedback, config.reward_model, seed=config.seed)
        found = policies.estimate_all(log.feedback, policy, predicted, bootstrap=config.bootstrap, seed=config.seed)
    truth = evaluation.summarise(clicks, config.bootstrap, config.seed)
    name, rounds = f"ope.open_bandit_{config.campaign}_{config.logged}", len(clicks)
    metrics = {f"{name}.true.value": evaluation.entry(truth.value, truth.n, "test", truth.ci95)}
    for estimator, estimate in found.items():
        error = abs(estimate.value - truth.value) / truth.value
        metrics[f"{name}.{estimator}.value"] = evaluation.entry(estimate.value, rounds, "test", estimate.ci95)
        metrics[f"{name}.{estimator}.relative_error"] = evaluation.entry(error, rounds, "test")
    sample = next(iter(found.values())).effective_sample
    metrics[f"{name}.log.effective_sample"] = evaluation.entry(sample, rounds, "test")
    split = f"log of {config.logged}, campaign {config.campaign}; the truth from the other policy's log"
    metrics |= evaluation.usage_entries("ope", used)
    return report_of(metrics, "open_bandit", len(log.alpha), rounds, split, config.seed)


def report_of(metrics: dict, dataset: str, items: int, rounds: int, split: str, seed: int) -> dict[str, Any]:
    """A report in the form of metrics.json, for logs in place of a data set.

    Args:
      metrics: key -> entry.
      dataset: its name.
      items: K.
      rounds: R.
      split: what was judged on what.
      seed: the cell's.
    """
    protocol = {
        "dataset": dataset,
        "users": rounds,
        "items": items,
        "interactions": rounds,
        "split": split,
        "trained_on": "the log, cross-fitted",
        "candidates": "all items",
        "ties": "none",
        "seeds": [seed],
    }
    digest = hashlib.sha256(json.dumps(protocol, sort_keys=True).encode()).hexdigest()
    return {"metrics": metrics, "protocol": protocol | {"sha256": digest}, "run": {}}
