"""The join: decisions and events, logged apart, become feedback with the domain's rewards.

Rewards come late, twice and in any order. An event counts where it happened to an item that its decision showed, at
most `window` seconds later; of several events of one item the best one counts, so that the result depends neither on
their order nor on how often one was sent; of unequal events with one id the earliest is believed. A decision whose
window is still open is left for the next join: no event yet does not mean that nothing came of it.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from tfrec_llm.config import setting
from tfrec_llm.feedback.records import Decisions, Events, check_decisions, check_events
from tfrec_llm.types import Domain, SlateFeedback

log = logging.getLogger(__name__)
REWARD = "reward"  # an event whose value is the reward itself


@dataclass(frozen=True)
class JoinSettings:
    """How long rewards are waited for."""

    window: int = setting(86_400, "seconds after a decision in which events count for it", low=1)
    skip: bool = setting(False, "events that carry a reward outside [0, 1] are left out and counted, not refused")


class Joined(NamedTuple):
    """Decisions by time, then id, with what came of them."""

    decision_id: np.ndarray  # [R] str
    time: np.ndarray  # [R] int64 seconds
    feedback: SlateFeedback  # [R]; float32, positions -1 and reward 0 where a slot stayed empty
    counts: Mapping[str, int]  # what was left out, and why


def join(
    decisions: Decisions, events: Events, domain: Domain, settings: JoinSettings, now: int | None = None
) -> Joined:
    """Joins by decision id.

    Args:
      decisions: in any order; one that is logged twice counts once.
      events: in any order, duplicates included.
      domain: its `rewards`.
      settings: see `JoinSettings`.
      now: seconds; decisions younger than the window are left out. None = every window is over.

    Returns:
      The feedback, and how many records were duplicate_decisions, open_decisions, empty_decisions (nothing shown),
      duplicate_events, out_of_order_events (older than one before them in the log; they count), late_events,
      early_events (before their decision), unknown_decisions (events of none), waiting_events (of a decision left out),
      unknown_events (no event type of the domain), bad_rewards (with `skip`), not_shown_events, and joined_events.

    Raises:
      ValueError: see `check_decisions` and `check_events`; one id for two different decisions; rewards that are not
        finite or not in [0, 1], but for those of events with `skip`.
    """
    check_decisions(decisions)
    check_events(events)
    kept, counts = _settled(decisions, settings.window, now)
    made = Decisions(*(column[kept] for column in vars(decisions).values()))
    told, found = _attributed(events, decisions, made, domain, settings)
    counts |= found
    rewards = np.zeros(made.item_ids.shape, np.float32)
    np.maximum.at(rewards, (told["row"].to_numpy(), told["slot"].to_numpy()), told["reward"].to_numpy(np.float32))
    feedback = SlateFeedback(
        np.asarray(made.context, np.float32), np.asarray(made.features, np.float32), _positions(made), rewards,
        np.where(made.item_ids != "", made.propensities, 0.0).astype(np.float32),
    )  # fmt: skip
    log.info("join: %d decisions, %s", len(kept), ", ".join(f"{n} {name}" for name, n in counts.items() if n))
    return Joined(made.decision_id, np.asarray(made.time, np.int64), feedback, counts)


def _settled(decisions: Decisions, window: int, now: int | None) -> tuple[np.ndarray, dict[str, int]]:
    """Rows of the decisions that can be learnt from, by time and id, and how many of the others there are."""
    order = np.lexsort((decisions.decision_id, decisions.time))
    ids = decisions.decision_id[order]
    first = ~pd.Series(ids).duplicated().to_numpy(bool)
    _refuse_conflicts(decisions, order, ids, first)
    over = np.ones(len(ids), bool) if now is None else decisions.time[order] + window <= now
    shown = (decisions.item_ids[order] != "").any(axis=1)
    return order[first & over & shown], {
        "duplicate_decisions": int((~first).sum()),
        "open_decisions": int((first & ~over).sum()),
        "empty_decisions": int((first & over & ~shown).sum()),
    }


def _refuse_conflicts(decisions: Decisions, order: np.ndarray, ids: np.ndarray, first: np.ndarray) -> None:
    """Equal ids must be equal decisions."""
    original = dict(zip(ids[first], order[first], strict=True))
    for row, name in zip(order[~first], ids[~first], strict=True):
        if any(not np.array_equal(column[row], column[original[name]]) for column in vars(decisions).values()):
            raise ValueError(
                f"decisions: expected an id for each, got {str(name)!r} for two different ones; draw ids that differ."
            )


def _attributed(
    events: Events, decisions: Decisions, made: Decisions, domain: Domain, settings: JoinSettings
) -> tuple[pd.DataFrame, dict[str, int]]:
    """The events that count, with row, slot and reward, and how many of the others there are."""
    table = pd.DataFrame({name: np.asarray(column) for name, column in vars(events).items()})
    disorder = int((table["time"] < table["time"].cummax()).sum())
    table = table.sort_values(["time", "event_id", "decision_id", "item_id", "event", "value"], kind="stable")
    once = table.drop_duplicates("event_id")
    counts = {"duplicate_events": len(table) - len(once), "out_of_order_events": disorder}
    table = once.assign(reward=_rewards_of(once, domain, settings.skip))
    known = table["decision_id"].isin(decisions.decision_id)
    place = pd.Index(made.decision_id).get_indexer(table["decision_id"])
    table = table.assign(row=place, slot=_slots(table["item_id"].to_numpy(str), made.item_ids, place))
    age = table["time"].to_numpy() - np.where(place >= 0, made.time[place] if len(made.time) else 0, 0)
    reasons = {
        "unknown_decisions": ~known.to_numpy(bool),
        "waiting_events": place < 0,
        "early_events": age < 0,
        "late_events": age > settings.window,
        "not_shown_events": table["slot"].to_numpy() < 0,
        "bad_rewards": table["reward"].isna().to_numpy(bool) & _carried(table, domain),
        "unknown_events": table["reward"].isna().to_numpy(bool),
    }
    left = np.ones(len(table), bool)
    for name, bad in reasons.items():  # each event is counted once, for its first reason
        counts[name] = int((left & bad).sum())
        left &= ~bad
    return table[left], counts | {"joined_events": int(left.sum())}


def _carried(events: pd.DataFrame, domain: Domain) -> np.ndarray:
    """[M] bool, which events' values are their rewards."""
    return ((events["event"] == REWARD) & ~events["event"].isin(domain.events)).to_numpy(bool)


def _rewards_of(events: pd.DataFrame, domain: Domain, skip: bool) -> np.ndarray:
    """[M] float64 the reward of each event, nan for types that the domain lacks, with `skip` for bad ones too.

    Raises:
      ValueError: a reward outside [0, 1], from the domain or, without `skip`, from an event that carries it.
    """
    values = {name: domain.rewards.get(name, 0.0) for name in domain.events}
    rewards = events["event"].map(values).to_numpy(np.float64, na_value=np.nan)
    carried = _carried(events, domain)
    rewards = np.where(carried, events["value"].to_numpy(np.float64), rewards)
    known = carried | events["event"].isin(domain.events).to_numpy(bool)
    bad = known & ~((rewards >= 0) & (rewards <= 1))
    if skip:
        rewards, bad = np.where(bad & carried, np.nan, rewards), bad & ~carried
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"events: expected finite rewards in [0, 1], got {rewards[row]} of {events['event'].iloc[row]!r} in "
            f"{events['event_id'].iloc[row]!r} and {bad.sum() - 1} more like it; correct the [rewards] of the domain, "
            "or scale the rewards that are logged."
        )
    return rewards


def _slots(item_ids: np.ndarray, slates: np.ndarray, place: np.ndarray) -> np.ndarray:
    """[M] the slot that showed each event's item, -1 where none did."""
    if not len(slates) or not len(item_ids):
        return np.full(len(item_ids), -1)
    same = (slates[np.maximum(place, 0)] == item_ids[:, None]) & (item_ids != "")[:, None] & (place >= 0)[:, None]
    return np.where(same.any(axis=1), same.argmax(axis=1), -1)


def _positions(made: Decisions) -> np.ndarray:
    """[R, n] int32 where in the candidates each slot's item is, -1 where a slot stayed empty."""
    same = made.item_ids[:, :, None] == made.candidate_ids[:, None, :]
    return np.where(made.item_ids != "", same.argmax(axis=2), -1).astype(np.int32)
