"""Estimators that also ask a model of the rewards: the model alone, and the model corrected by what was logged."""

from dataclasses import dataclass

import numpy as np

from tfrec_llm.config import setting
from tfrec_llm.evaluation.policies.importance import WeightingSettings, normalised
from tfrec_llm.evaluation.policies.weights import SLOTS, Weighted

_GRID = 20  # thresholds and shrinkages that are tried
_REACH = 0.5  # standard errors of an interval when two estimates are compared


class DirectMethod:
    """The mean predicted reward under the policy: as wrong as its model is."""

    predicts = True

    def __init__(self, settings: WeightingSettings):
        self.slots = settings.slots

    def terms(self, given: Weighted) -> np.ndarray:
        """[R, 1]."""
        return given.direct.sum(1, keepdims=True)

    def value(self, means: np.ndarray) -> np.ndarray:
        """Means [..., terms] -> value of the policy [...]."""
        return means[..., 0]


class DoublyRobust(DirectMethod):
    """The model, corrected by weighted residuals (Dudik et al., 2011): unbiased if either half is right."""

    def terms(self, given: Weighted) -> np.ndarray:
        """[R, 1]."""
        return self.corrected(given, given.weight)

    def corrected(self, given: Weighted, weight: np.ndarray) -> np.ndarray:
        """[R, 1]: the estimate of each decision with other weights [R, n]."""
        return (given.direct + weight * (given.reward - given.predicted)).sum(1, keepdims=True)


class SelfNormalisedDoublyRobust(DirectMethod):
    """Doubly robust with residuals weighted to a mean weight of one (Kallus and Uehara, 2019)."""

    def terms(self, given: Weighted) -> np.ndarray:
        """[R, 1 + 2n]: prediction, weighted residuals, weights."""
        residual = given.weight * (given.reward - given.predicted)
        return np.concatenate([given.direct.sum(1, keepdims=True), residual, given.weight], axis=1)

    def value(self, means: np.ndarray) -> np.ndarray:
        """See `DirectMethod.value`."""
        residual, weight = np.split(means[..., 1:], 2, axis=-1)
        return means[..., 0] + normalised(residual, weight)


@dataclass(frozen=True)
class SwitchSettings:
    """Settings of `SwitchDoublyRobust`."""

    slots: str = setting(SLOTS[0], "what an item brings depends on its own slot, or on those above too", choices=SLOTS)
    threshold: float = setting(0.0, "above this weight only the model counts; 0 = chosen from the log", low=0)


class SwitchDoublyRobust(DoublyRobust):
    """Doubly robust, and the model alone where a weight is above a threshold (Wang et al., 2017)."""

    def __init__(self, settings: SwitchSettings):
        super().__init__(WeightingSettings(settings.slots))
        self._threshold = settings.threshold

    def terms(self, given: Weighted) -> np.ndarray:
        """[R, 1]."""
        thresholds = [self._threshold] if self._threshold else np.quantile(given.weight, np.linspace(1, 0, _GRID))
        return _least_varying(self, given, [np.where(given.weight <= t, given.weight, 0.0) for t in thresholds])


@dataclass(frozen=True)
class ShrinkageSettings:
    """Settings of `ShrinkageDoublyRobust`."""

    slots: str = setting(SLOTS[0], "what an item brings depends on its own slot, or on those above too", choices=SLOTS)
    shrinkage: float = setting(0.0, "lambda: the smaller, the closer to the model; 0 = chosen from the log", low=0)


class ShrinkageDoublyRobust(DoublyRobust):
    """Doubly robust with weights w shrunk to lambda w / (w^2 + lambda) (Su et al., 2020)."""

    def __init__(self, settings: ShrinkageSettings):
        super().__init__(WeightingSettings(settings.slots))
        self._shrinkage = settings.shrinkage

    def terms(self, given: Weighted) -> np.ndarray:
        """[R, 1]."""
        largest = np.square(given.weight.max()) + 1.0
        tried = [self._shrinkage] if self._shrinkage else largest * np.logspace(4, -6, _GRID)
        return _least_varying(self, given, [s * given.weight / (np.square(given.weight) + s) for s in tried])


def _least_varying(estimator: DoublyRobust, given: Weighted, weights: list[np.ndarray]) -> np.ndarray:
    """The terms of the most cautious weights that the bolder ones do not contradict.

    Lepski's principle for off-policy estimates (SLOPE; Su, Srinath and Krishnamurthy, 2020): from full weights on,
    which have no bias, one goes to weights that vary less as long as all intervals so far have a point in common. The
    intervals are narrower than in the paper: on synthetic logs wide ones went all the way to a biased model.

    Args:
      estimator: makes the terms.
      given: the decisions.
      weights: [R, n] each, from full ones to those that trust the model most.
    """
    chosen, low, high = None, -np.inf, np.inf
    for weight in weights:
        terms = estimator.corrected(given, weight)
        reach = _REACH * terms.std() / np.sqrt(len(terms))
        low, high = max(low, terms.mean() - reach), min(high, terms.mean() + reach)
        if chosen is not None and low > high:
            break
        chosen = terms
    return chosen
