"""The gate: a new policy ships only where decisions that it did not train on say so.

It is judged by the paired difference to the policy that serves, on the same resamples of the same decisions. `routine`
(the same configuration, more data) ships unless it may be worse by more than a margin; `change` (another model or
configuration) ships only where it is better for sure.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tfrec_llm.config import Gate
from tfrec_llm.evaluation.intervals import interval
from tfrec_llm.evaluation.policies.estimators import Estimator, build_estimator, values_of
from tfrec_llm.evaluation.policies.importance import SelfNormalisedIpw, WeightingSettings
from tfrec_llm.evaluation.policies.reward_models import check_reward_model, cross_fitted
from tfrec_llm.evaluation.policies.weights import Weighted, check_log, effective_sample, warnings_of, weigh
from tfrec_llm.types import SlateFeedback

KINDS = ("routine", "change")
NOT_ENOUGH = "not enough evidence"


class Verdict(NamedTuple):
    """What the gate decided, and why."""

    ships: bool
    kind: str
    reasons: tuple[str, ...]
    decisions: int
    effective_sample: float  # of the policy that has less
    incumbent: float | None = None  # estimated value; None where it was not got so far
    candidate: float | None = None
    difference: float | None = None
    ci95: tuple[float, float] | None = None
    warnings: tuple[str, ...] = ()


class _Difference(NamedTuple):
    incumbent: float
    candidate: float
    ci95: tuple[float, float] | None

    @property
    def mean(self) -> float:
        return self.candidate - self.incumbent


def check_gate(settings: Gate) -> None:
    """Looks the estimator and the reward model up.

    Raises:
      ConfigError: no such part, or settings that do not fit it.
    """
    build_estimator(settings.estimator, "gate.estimator")
    check_reward_model(settings.reward_model, "gate.reward_model")


def judged_decisions(decision_ids: Sequence[str], share: float) -> np.ndarray:
    """Which decisions are kept for the gate: [R] bool, by a hash of their ids, so that training can leave them out.

    Args:
      decision_ids: R of them.
      share: of the decisions, on average.
    """
    numbers = [int.from_bytes(hashlib.sha256(f"gate {name}".encode()).digest()[:8]) for name in decision_ids]
    return np.array(numbers, np.float64) < share * 2.0**64


def decide(
    feedback: SlateFeedback,
    incumbent: np.ndarray,
    candidate: np.ndarray,
    settings: Gate,
    kind: str = KINDS[0],
    harms: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
) -> Verdict:
    """Ship or refuse.

    Args:
      feedback: [R] decisions that the candidate did not train on, see `judged_decisions`.
      incumbent: [R, n, K] probabilities of the policy that serves, in each slot given the logged items above.
      candidate: [R, n, K] those of the new one.
      settings: see `Gate`.
      kind: "routine" or "change".
      harms: safety metrics: name -> [R, n] harm observed of what was shown, the less the better.
      seed: of folds and resamples.

    Raises:
      ValueError: the log or the incumbent can't be evaluated, or no such kind. What is wrong with the candidate is a
        reason to refuse it instead.
    """
    if kind not in KINDS:
        raise ValueError(f"expected kind to be {' or '.join(KINDS)}, got {kind!r}.")
    check_log(feedback, incumbent)
    estimator = build_estimator(settings.estimator, "gate.estimator")
    predicted = cross_fitted(feedback, settings.reward_model, settings.folds, seed) if estimator.predicts else None
    ours = weigh(feedback, incumbent, predicted, estimator.slots)
    try:
        new = weigh(feedback, candidate, predicted, estimator.slots)
    except ValueError as error:
        return Verdict(False, kind, (f"the new policy can't be judged: {error}",), len(feedback.slate), 0.0)
    difference = _compare(estimator, ours, new, settings.bootstrap, seed)
    sample = min(effective_sample(ours.weight), effective_sample(new.weight))
    reasons = _objections(difference, sample, settings, kind)
    for name, harm in (harms or {}).items():
        reasons += _worsens(name, harm, estimator.slots, (feedback, incumbent, candidate), settings, seed)
    return Verdict(
        not reasons, kind, tuple(reasons) or (_approval(difference, kind),), len(feedback.slate), sample,
        difference.incumbent, difference.candidate, difference.mean, difference.ci95, warnings_of(new.weight),
    )  # fmt: skip


def _compare(estimator: Estimator, ours: Weighted, new: Weighted, bootstrap: int, seed: int) -> _Difference:
    """Values of both on the same resamples."""
    terms = [estimator.terms(ours), estimator.terms(new)]
    (incumbent, before), (candidate, after) = values_of([estimator] * 2, terms, bootstrap, seed)
    return _Difference(incumbent, candidate, interval(after - before, len(terms[0])))


def _objections(difference: _Difference, sample: float, settings: Gate, kind: str) -> list[str]:
    if sample < settings.min_effective_sample or difference.ci95 is None:
        return [
            f"{NOT_ENOUGH}: expected {settings.min_effective_sample:g} effective decisions, got {sample:.0f}; "
            "log more, or with more exploration"
        ]
    low, allowed = difference.ci95[0], -settings.margin * abs(difference.incumbent) if kind == KINDS[0] else 0.0
    if low > allowed or (kind == KINDS[0] and low == allowed == 0):
        return []
    return [f"expected the lower bound of the gain above {allowed:.4g} for a {kind}, got {low:.4g}"]


def _worsens(
    name: str,
    harm: np.ndarray,
    slots: str,
    logged: tuple[SlateFeedback, np.ndarray, np.ndarray],
    settings: Gate,
    seed: int,
) -> list[str]:
    """An objection where a harm grows for sure, or by more than the margin."""
    feedback, *policies = logged
    observed = feedback._replace(rewards=np.asarray(harm))
    estimator = SelfNormalisedIpw(WeightingSettings(slots))
    ours, new = (weigh(observed, policy, None, slots) for policy in policies)
    growth = _compare(estimator, ours, new, settings.bootstrap, seed)
    surely = growth.ci95 is not None and growth.ci95[0] > 0
    if surely or growth.mean > settings.harm_margin * abs(growth.incumbent):
        return [f"{name} worsens: expected at most {growth.incumbent:.4g}, got {growth.candidate:.4g}"]
    return []


def _approval(difference: _Difference, kind: str) -> str:
    low, high = difference.ci95
    return f"{kind}: gain {difference.mean:.4g} [{low:.4g}, {high:.4g}] over {difference.incumbent:.4g}"
