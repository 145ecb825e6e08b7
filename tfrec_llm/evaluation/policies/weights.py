"""Logged slates and a new policy -> importance weights: checked, with how well the two overlap.

An estimator reads nothing but `Weighted`. Slots of a slate are seen in one of two ways: `independent`, where what an
item in a slot brings depends on that slot alone (item-position model; Li et al., 2018), and `interaction`, where it
depends on the slots above too (reward interaction; McInerney et al., 2020). With one slot they are the same.
"""

from typing import NamedTuple

import numpy as np

from tfrec_llm.types import SlateFeedback

SLOTS = ("independent", "interaction")
_SUM = 1e-3  # how far a policy's probabilities of a slot may be from one
_ERRORS, _MISSED = 5.0, 0.05  # a mean weight so many standard errors and so much below one is no chance
_SHARE = 0.05  # of all weight, on one decision
_FEW = 100  # decisions


class NoOverlapError(ValueError):
    """The log says nothing of what the new policy would do."""


class Weighted(NamedTuple):
    """What an estimator sees of R decisions with n slots."""

    weight: np.ndarray  # [R, n] new over logged probability, of the slot or of it and the slots above
    reward: np.ndarray  # [R, n]
    predicted: np.ndarray  # [R, n] predicted reward of what was shown
    direct: np.ndarray  # [R, n] mean predicted reward under the new policy, times the weight of the slots above


def weigh(
    feedback: SlateFeedback, policy: np.ndarray, predicted: np.ndarray | None = None, slots: str = SLOTS[0]
) -> Weighted:
    """The weights of a new policy on a log.

    Args:
      feedback: [R] decisions; positions are -1 where a slot stayed empty.
      policy: [R, n, K] the new policy's probabilities in each slot, given the logged items above.
      predicted: [R, K] or [R, n, K] predicted rewards, None for estimators that need none.
      slots: "independent" or "interaction".

    Raises:
      ValueError: see `check_log`; predictions of another shape or not finite; no such way to see slots.
      NoOverlapError: see `check_overlap`.
    """
    if slots not in SLOTS:
        raise ValueError(f"expected slots to be {' or '.join(SLOTS)}, got {slots!r}.")
    check_log(feedback, policy)
    shown, filled = np.maximum(feedback.slate, 0)[..., None], np.asarray(feedback.slate) >= 0
    chosen = np.take_along_axis(np.asarray(policy, np.float64), shown, 2)[..., 0]  # [R, n]
    ratio = np.where(filled, chosen / np.where(filled, feedback.propensities, 1.0), 1.0)
    check_overlap(ratio)
    through = np.cumprod(ratio, axis=1)
    above = np.concatenate([np.ones_like(through[:, :1]), through[:, :-1]], axis=1)
    weight, carried = (ratio, np.ones_like(ratio)) if slots == SLOTS[0] else (through, above)
    reward = np.where(filled, feedback.rewards, 0.0).astype(np.float64)
    if predicted is None:
        return Weighted(weight, reward, np.zeros_like(reward), np.zeros_like(reward))
    values = _checked_predictions(predicted, np.shape(policy))
    of_shown = np.where(filled, np.take_along_axis(values, shown, 2)[..., 0], 0.0)
    return Weighted(weight, reward, of_shown, np.where(filled, carried * (policy * values).sum(2), 0.0))


def check_log(feedback: SlateFeedback, policy: np.ndarray, low: float = -np.inf, high: float = np.inf) -> None:
    """Refuses what can't be evaluated; the message names the first bad decisions.

    Args:
      feedback: [R] decisions.
      policy: [R, n, K] probabilities.
      low: the smallest reward there may be.
      high: the largest.

    Raises:
      ValueError: no decisions or candidates; shapes that do not fit; rewards that are not finite or outside their
        range; propensities outside (0, 1]; positions outside the candidates or twice in a slate; probabilities that are
        no distribution.
    """
    shape, slate = np.shape(policy), np.asarray(feedback.slate)
    if len(shape) != 3 or 0 in shape or any(
        np.shape(part) != shape[:2] for part in (slate, feedback.rewards, feedback.propensities)
    ):  # fmt: skip
        raise ValueError(
            f"expected slates, rewards and propensities [R, n] and a policy [R, n, K], none empty, got "
            f"{slate.shape}, {np.shape(feedback.rewards)}, {np.shape(feedback.propensities)} and {shape}."
        )
    offered = np.shape(feedback.candidates)
    if len(offered) == 3 and offered[1] != shape[2]:
        raise ValueError(f"expected a policy over the log's {offered[1]} candidates, got one over {shape[2]}.")
    rewards, propensities, filled = np.asarray(feedback.rewards), np.asarray(feedback.propensities), slate >= 0
    total = np.sum(policy, axis=2)
    _refuse((slate < -1) | (slate >= shape[2]), slate, f"positions from 0 to {shape[2] - 1}, -1 for none")
    twice = np.array(
        [(filled[:, : s + 1] & (slate[:, : s + 1] == slate[:, s : s + 1])).sum(1) > 1 for s in range(shape[1])]
    )
    _refuse(twice.T, slate, "an item once in a slate")
    fits = np.isfinite(rewards) & (rewards >= low) & (rewards <= high)
    _refuse(filled & ~fits, rewards, f"finite rewards from {low:g} to {high:g}")
    _refuse(filled & ~((propensities > 0) & (propensities <= 1)), propensities, "propensities above 0 and at most 1")
    _refuse(filled & ~(np.abs(total - 1) <= _SUM), total, "a policy whose probabilities of a slot sum to one")
    least = np.min(policy, axis=2)
    _refuse(filled & ~(least >= 0), least, "a policy without negative probabilities")


def check_overlap(ratio: np.ndarray) -> None:
    """Refuses a log that could not have shown what the new policy shows.

    Where the log could show everything that the new policy does, the mean of new over logged probability is one; a mean
    far below says that the policy goes where the log never was.

    Args:
      ratio: [R, n] new over logged probability.

    Raises:
      NoOverlapError: the mean of a slot lies five standard errors and 5 % below one, over a hundred decisions or more.
    """
    if len(ratio) < _FEW:  # too few to tell
        return
    mean, error = ratio.mean(0), ratio.std(0) / np.sqrt(len(ratio))
    missing = 1 - mean > np.maximum(_ERRORS * error, _MISSED)
    if missing.any():
        slot = int(np.argmax(missing))
        raise NoOverlapError(
            f"expected a log that shows whatever the policy would, got mean weight {mean[slot]:.3f} in slot {slot} "
            f"in place of 1: {1 - mean[slot]:.0%} of what the policy shows there was never tried. Log with exploration "
            "(ranking.exploration_floor above 0) before this policy is judged."
        )


def effective_sample(weight: np.ndarray) -> float:
    """So many decisions of the new policy's own would say as much (Kish, 1965); of the slot where it is least.

    Args:
      weight: [R, n].
    """
    squares = np.square(weight).sum(0)
    return float(np.min(np.divide(np.square(weight.sum(0)), squares, out=np.zeros_like(squares), where=squares > 0)))


def warnings_of(weight: np.ndarray) -> tuple[str, ...]:
    """What one should know before trusting estimates with these weights [R, n]."""
    found, sample = [], effective_sample(weight)
    if sample < _FEW:
        found.append(f"only {sample:.0f} of {len(weight)} decisions count (effective sample)")
    totals = weight.sum(0)
    share = float(np.max(np.divide(weight.max(0), totals, out=np.zeros_like(totals), where=totals > 0)))
    if share > max(_SHARE, 2 / len(weight)):
        found.append(f"one decision carries {share:.0%} of the weight")
    return tuple(found)


def _refuse(bad: np.ndarray, values: np.ndarray, expected: str) -> None:
    rows = np.flatnonzero(bad.any(1))
    if len(rows):
        row = int(rows[0])
        got = np.asarray(values)[row][bad[row]][0]
        raise ValueError(
            f"expected {expected}, got {got} in decision {row}, and {len(rows)} such decisions in all: "
            f"{', '.join(map(str, rows[:5]))}; mend or leave them out."
        )


def _checked_predictions(predicted: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """[R, n, K] from that or [R, K]."""
    values = np.asarray(predicted, np.float64)
    values = values[:, None, :] if values.ndim == 2 else values
    if (
        values.ndim != 3
        or values.shape[0] != shape[0]
        or values.shape[2] != shape[2]
        or values.shape[1] not in (1, shape[1])
    ):
        raise ValueError(f"expected predictions [R, K] or [R, n, K] for a policy {shape}, got {np.shape(predicted)}.")
    if not np.isfinite(values).all():
        raise ValueError("expected finite predicted rewards, got nan or infinite ones: look at the reward model.")
    return np.broadcast_to(values, shape)
