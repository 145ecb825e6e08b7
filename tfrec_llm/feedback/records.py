"""What is logged: decisions when they are made, events when they happen; checked before anything learns from them."""

import math
from dataclasses import dataclass

import numpy as np

_SHOWN = 5  # bad records that a message names


@dataclass(frozen=True)
class Decisions:
    """Logged decisions, in any order; the outputs of the `decide` signature with an id and a time."""

    decision_id: np.ndarray  # [R] str, one of each
    time: np.ndarray  # [R] int64 seconds
    context: np.ndarray  # [R, C]
    candidate_ids: np.ndarray  # [R, K] str, "" where not allowed
    features: np.ndarray  # [R, K, F]
    item_ids: np.ndarray  # [R, n] str, "" where a slot stayed empty
    propensities: np.ndarray  # [R, n] in (0, 1] where a slot is filled


@dataclass(frozen=True)
class Events:
    """What users did with what they were shown, in any order, some of it more than once."""

    event_id: np.ndarray  # [M] str: equal ids are one event that was sent again
    decision_id: np.ndarray  # [M] str
    item_id: np.ndarray  # [M] str
    event: np.ndarray  # [M] str: an event type of the domain, or `join.REWARD`
    value: np.ndarray  # [M] of `join.REWARD` the reward itself; of others a rating, price or quantity
    time: np.ndarray  # [M] int64 seconds


def check_decisions(decisions: Decisions) -> None:
    """Refuses decisions that nothing could be learnt from.

    Args:
      decisions: [R] records.

    Raises:
      ValueError: shapes that do not fit, ids that are empty, no candidates, items shown twice in a slate or that are no
        candidates, propensities missing or outside (0, 1], values that are not finite; names the first decisions.
    """
    ids, count = decisions.decision_id, len(decisions.decision_id)
    slots, candidates = np.shape(decisions.item_ids), np.shape(decisions.candidate_ids)
    fits = (
        len(slots) == len(candidates) == 2
        and np.shape(decisions.propensities) == slots
        and np.shape(decisions.features)[:2] == candidates
        and np.ndim(decisions.features) == 3
        and np.ndim(decisions.context) == 2
        and {slots[0], candidates[0], len(decisions.context), len(decisions.time)} == {count}
    )
    if not fits:
        raise ValueError(
            f"decisions: expected context [R, C], candidates [R, K], features [R, K, F], items and propensities [R, n] "
            f"for R = {count} ids, got {np.shape(decisions.context)}, {candidates}, {np.shape(decisions.features)}, "
            f"{slots} and {np.shape(decisions.propensities)}; log all outputs of `decide` together."
        )
    if count and not candidates[1]:
        raise ValueError("decisions: expected candidates, got K = 0; log `candidate_ids` of `decide`.")
    filled = decisions.item_ids != ""
    p = np.asarray(decisions.propensities, np.float64)
    _refuse(ids == "", ids, ids, "an id", "give every decision one")
    _refuse(filled & ~((p > 0) & (p <= 1)), p, ids, "propensities above 0 and at most 1", "log those of `decide`")
    offered = (decisions.item_ids[:, :, None] == decisions.candidate_ids[:, None, :]).any(axis=2)
    _refuse(filled & ~offered, decisions.item_ids, ids, "items among the candidates", "log the two together")
    again = (decisions.item_ids[:, :, None] == decisions.item_ids[:, None, :]).sum(axis=2) > 1
    _refuse(filled & again, decisions.item_ids, ids, "an item once in a slate", "correct the log")
    for name in ("context", "features"):
        values = np.asarray(getattr(decisions, name), np.float64)
        flat = values.reshape(count, math.prod(values.shape[1:]))
        _refuse(~np.isfinite(flat), flat, ids, f"finite numbers as {name}", "correct the log")


def check_events(events: Events) -> None:
    """Refuses events that cannot be told apart or counted.

    Args:
      events: [M] records.

    Raises:
      ValueError: columns of different lengths, empty ids, or values that are not finite.
    """
    lengths = {name: len(column) for name, column in vars(events).items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"events: expected columns of one length, got {lengths}; write each event whole.")
    for name in ("event_id", "decision_id"):
        column = getattr(events, name)
        _refuse(column == "", column, events.event_id, f"a non-empty {name}", "give every event one", "events")
    value = np.asarray(events.value, np.float64)
    _refuse(~np.isfinite(value), value, events.event_id, "finite values", "write 1 where it is unknown", "events")


def _refuse(
    bad: np.ndarray, values: np.ndarray, ids: np.ndarray, expected: str, remedy: str, what: str = "decisions"
) -> None:
    """Raises a ValueError that names the first bad records."""
    if not bad.any():
        return
    places = np.argwhere(bad)
    named = ", ".join(f"{values[tuple(p)]!s} in {str(ids[p[0]])!r}" for p in places[:_SHOWN])
    more = f" and {len(places) - _SHOWN:,} more" if len(places) > _SHOWN else ""
    raise ValueError(f"{what}: expected {expected}, got {named}{more}; {remedy}.")
