"""The off-policy estimators by name, and what they say of a policy on a log, with intervals."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from tfrec_llm.config import Component, choose
from tfrec_llm.evaluation.intervals import interval, resampled_means
from tfrec_llm.evaluation.policies.doubly_robust import (
    DirectMethod,
    DoublyRobust,
    SelfNormalisedDoublyRobust,
    ShrinkageDoublyRobust,
    ShrinkageSettings,
    SwitchDoublyRobust,
    SwitchSettings,
)
from tfrec_llm.evaluation.policies.importance import Ipw, SelfNormalisedIpw, WeightingSettings
from tfrec_llm.evaluation.policies.weights import Weighted, effective_sample, warnings_of, weigh
from tfrec_llm.types import SlateFeedback


class Estimator(Protocol):
    """What every line of ESTIMATORS builds."""

    predicts: bool  # whether it asks a reward model
    slots: str  # how it sees the slots of a slate

    def terms(self, given: Weighted) -> np.ndarray:
        """[R, terms] what each decision adds."""

    def value(self, means: np.ndarray) -> np.ndarray:
        """Means of the terms [..., terms] -> value of the policy [...]."""


ESTIMATORS: Mapping[str, tuple[type, Any]] = {
    "ipw": (WeightingSettings, Ipw),
    "snipw": (WeightingSettings, SelfNormalisedIpw),
    "dm": (WeightingSettings, DirectMethod),
    "dr": (WeightingSettings, DoublyRobust),
    "sndr": (WeightingSettings, SelfNormalisedDoublyRobust),
    "switch_dr": (SwitchSettings, SwitchDoublyRobust),
    "shrinkage_dr": (ShrinkageSettings, ShrinkageDoublyRobust),
}


class Estimate(NamedTuple):
    """What a policy would bring for a slate, as a log tells it."""

    value: float
    ci95: tuple[float, float] | None  # None where one decision gives no interval
    effective_sample: float
    warnings: tuple[str, ...]


def build_estimator(component: Component, where: str = "estimator") -> Estimator:
    """An estimator by its name.

    Raises:
      ConfigError: no such estimator, or settings that do not fit it.
    """
    settings, builder = choose(ESTIMATORS, component, where)
    return builder(settings)


def estimate_all(
    feedback: SlateFeedback,
    policy: np.ndarray,
    predicted: np.ndarray | None = None,
    estimators: Sequence[Component] = tuple(Component(name) for name in ESTIMATORS),
    bootstrap: int = 1000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Several estimators on one log.

    Args:
      feedback: [R] logged decisions.
      policy: [R, n, K] the new policy's probabilities in each slot, given the logged items above.
      predicted: [R, K] or [R, n, K] predicted rewards, see `reward_models`; without them only estimators that need none
        are asked.
      estimators: which.
      bootstrap: resamples of the interval.
      seed: equal seeds give equal intervals.

    Returns:
      Name -> estimate.

    Raises:
      ValueError: bad rewards, propensities, positions or probabilities.
      NoOverlapError: the log never showed what the policy shows.
    """
    built = {component.name: build_estimator(component) for component in estimators}
    built = {name: estimator for name, estimator in built.items() if predicted is not None or not estimator.predicts}
    given = {
        slots: weigh(feedback, policy, predicted, slots) for slots in {estimator.slots for estimator in built.values()}
    }
    terms = {name: estimator.terms(given[estimator.slots]) for name, estimator in built.items()}
    found, count = {}, len(feedback.slate)
    resampled = values_of(list(built.values()), list(terms.values()), bootstrap, seed)
    for (name, estimator), (value, values) in zip(built.items(), resampled, strict=True):
        weight = given[estimator.slots].weight
        found[name] = Estimate(value, interval(values, count), effective_sample(weight), warnings_of(weight))
    return found


def values_of(
    estimators: Sequence[Estimator], terms: Sequence[np.ndarray], bootstrap: int, seed: int
) -> list[tuple[float, np.ndarray]]:
    """Values of estimates that share their resamples, so that they can be compared one by one.

    Args:
      estimators: what makes a value of mean terms.
      terms: [R, terms] of each.
      bootstrap: number of resamples.
      seed: of the resamples.

    Returns:
      Of each the value and its [bootstrap] resampled values.
    """
    ends = np.cumsum([part.shape[1] for part in terms])[:-1]
    resampled = np.split(resampled_means(np.concatenate(terms, axis=1), bootstrap, seed), ends, axis=1)
    return [
        (float(estimator.value(part.mean(0))), estimator.value(means))
        for estimator, part, means in zip(estimators, terms, resampled, strict=True)
    ]
