"""A new version is watched: where its reward is surely lower than that of the version before, it is taken back."""

import math
from itertools import islice
from typing import NamedTuple

import numpy as np

from tfrec_llm.config import Learn
from tfrec_llm.feedback import EventLog, JoinSettings, join
from tfrec_llm.types import Domain


class Rewards(NamedTuple):
    """Rewards of a version's settled decisions."""

    mean: float
    error: float  # standard error of the mean
    count: int


def rewards_of(log: EventLog, version: int, domain: Domain, settings: Learn, now: int) -> Rewards:
    """Reward per decision (sum over its slots) of the latest settled decisions of a version."""
    ids = list(islice(log.latest_decisions(now - settings.window, str(version)), 5 * settings.watched))
    decisions, _ = log.read_decisions(ids)
    if not len(decisions.time):
        return Rewards(math.nan, math.nan, 0)
    events = log.read_events(decision_ids=ids)
    reward = join(decisions, events, domain, JoinSettings(settings.window, skip=True)).feedback.rewards.sum(axis=1)
    error = float(reward.std(ddof=1) / math.sqrt(len(reward))) if len(reward) > 1 else math.nan
    return Rewards(float(np.mean(reward, dtype=np.float64)), error, len(reward))


def objection(new: Rewards, old: Rewards, settings: Learn) -> str:
    """Why a version must go, "" where it may stay or nobody can say yet.

    Args:
      new: of the version that serves.
      old: of the one before.
      settings: `watched` decisions of both are needed; `tolerance` of the old reward may be lost.
    """
    if min(new.count, old.count) < settings.watched:
        return ""
    high = new.mean - old.mean + 1.96 * math.hypot(new.error, old.error)
    if high >= -settings.tolerance * abs(old.mean):
        return ""
    return (
        f"live reward: {new.mean:.4f} per decision ({new.count} decisions) after {old.mean:.4f} ({old.count}), "
        f"surely more than {settings.tolerance:.0%} lower"
    )
