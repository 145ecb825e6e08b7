"""How often do 95 % intervals cover the truth? Thousands of logs of a shop whose truth is known."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from pipelines.off_policy.open_bandit import report_of
from pipelines.off_policy.world import customers, draw_shop, log_rounds, softmax, true_value
from tfrec_llm import evaluation
from tfrec_llm.config import Component, setting
from tfrec_llm.evaluation import policies

TRUTH = 500_000  # customers that the true value is a mean of


@dataclass(frozen=True)
class CoverageConfig:
    """What a cell of a suite with `upto = "coverage"` holds in place of a run's config."""

    seed: int = setting(1, "of shop and logs", low=0)
    logs: int = setting(2_000, "how many", low=1)
    rounds: int = setting(2_000, "of each log", low=2)
    items: int = setting(10, "K", low=2)
    sharpness: float = setting(3.0, "how much the judged policy knows of the truth", low=0)
    reward_model: Component = setting(Component("ridge"), "a name in tfrec_llm.evaluation.policies.REWARD_MODELS")
    bootstrap: int = setting(1000, "resamples of an interval", low=10)


def study(config: CoverageConfig) -> dict[str, Any]:
    """Coverage, bias and root mean squared error of every estimator, and the mean effective sample."""
    shop = draw_shop(config.seed, config.items)
    everybody = customers(shop, TRUTH, config.seed)
    truth = true_value(shop, everybody, softmax(shop.expected(everybody), config.sharpness))
    found: dict[str, list[policies.Estimate]] = {}
    with evaluation.measure() as used, threadpool_limits(1):  # small matrices: threads only wait for one another
        for number in tqdm(range(config.logs), desc="coverage", unit="log", leave=False):
            for name, estimate in _estimates(config, shop, config.seed * config.logs + number).items():
                found.setdefault(name, []).append(estimate)
    metrics = {"ope.synthetic.true.value": evaluation.entry(truth, TRUTH, "simulation")}
    for name, estimates in found.items():
        errors = np.array([estimate.value for estimate in estimates]) - truth
        covered = np.mean([low <= truth <= high for low, high in (estimate.ci95 for estimate in estimates)])
        figures = {"coverage": covered, "bias": errors.mean(), "rmse": np.sqrt(np.square(errors).mean())}
        for figure, value in figures.items():
            metrics[f"ope.synthetic.{name}.{figure}"] = evaluation.entry(value, config.logs, "simulation")
    samples = [estimate.effective_sample for estimate in found["ipw"]]
    for figure, value in {"effective_sample": np.mean(samples), "least_effective_sample": np.min(samples)}.items():
        metrics[f"ope.synthetic.log.{figure}"] = evaluation.entry(value, config.logs, "simulation")
    split = f"{config.logs} logs of {config.rounds} rounds, logged by a softmax of another taste"
    return report_of(
        metrics | evaluation.usage_entries("ope", used), "synthetic", config.items, config.rounds, split, config.seed
    )


def _estimates(config: CoverageConfig, shop, seed: int) -> dict[str, policies.Estimate]:
    context = customers(shop, config.rounds, seed)
    logging = softmax(np.tile(shop.appeal, (len(context), 1)), 1.0, floor=0.3)
    feedback, _ = log_rounds(shop, context, logging, seed)
    judged = softmax(shop.expected(context), config.sharpness)[:, None, :]
    predicted = policies.cross_fitted(feedback, config.reward_model, seed=seed)
    return policies.estimate_all(feedback, judged, predicted, bootstrap=config.bootstrap, seed=seed)
