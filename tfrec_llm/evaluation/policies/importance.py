"""Estimators that only weigh what was logged.

An estimator turns decisions into terms, whose means over the decisions its value is made from: so one bootstrap serves
all, and two policies can be compared on the same resamples.
"""

from dataclasses import dataclass

import numpy as np

from tfrec_llm.config import setting
from tfrec_llm.evaluation.policies.weights import SLOTS, Weighted


@dataclass(frozen=True)
class WeightingSettings:
    """Settings of the estimators that have no others."""

    slots: str = setting(SLOTS[0], "what an item brings depends on its own slot, or on those above too", choices=SLOTS)


class Ipw:
    """Inverse propensity weighting (Horvitz and Thompson, 1952): unbiased where the log overlaps."""

    predicts = False

    def __init__(self, settings: WeightingSettings):
        self.slots = settings.slots

    def terms(self, given: Weighted) -> np.ndarray:
        """[R, 1]: the weighted reward of the slate."""
        return (given.weight * given.reward).sum(1, keepdims=True)

    def value(self, means: np.ndarray) -> np.ndarray:
        """Means [..., terms] -> value of the policy [...]."""
        return means[..., 0]


class SelfNormalisedIpw(Ipw):
    """Self-normalised inverse propensity weighting (Swaminathan and Joachims, 2015): stays in the range of rewards."""

    def terms(self, given: Weighted) -> np.ndarray:
        """[R, 2n]: weighted rewards, then weights."""
        return np.concatenate([given.weight * given.reward, given.weight], axis=1)

    def value(self, means: np.ndarray) -> np.ndarray:
        """See `Ipw.value`."""
        return normalised(*np.split(means, 2, axis=-1))


def normalised(weighted: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Sum over slots of weighted [..., n] over weight [..., n]; a slot without weight adds nothing."""
    return np.divide(weighted, weight, out=np.zeros_like(weighted), where=weight > 0).sum(-1)
