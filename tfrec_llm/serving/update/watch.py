"""New versions are watched: where the reward of one is surely lower than that of those before, it is taken back.

Decisions settle `learn.window` seconds after they were made, and by then others may serve: what is looked at is every
version since the last one about which enough is known.
"""

import math
from itertools import islice
from typing import NamedTuple

import numpy as np

from tfrec_llm.config import Learn
from tfrec_llm.feedback import EventLog, JoinSettings, join
from tfrec_llm.serving.labels import Labels
from tfrec_llm.types import Domain

ENOUGH = 5  # times `learn.watched` decisions are looked at, and no more


class Rewards(NamedTuple):
    """Rewards of a version's settled decisions."""

    mean: float
    error: float  # standard error of the mean
    count: int


class Watch:
    """Holds the reward of each version against that of the one before it.

    Args:
      log: the event log.
      domain: says what an event is worth.
      settings: `[learn]`.
    """

    def __init__(self, log: EventLog, domain: Domain, settings: Learn):
        self._log, self._domain, self._settings = log, domain, settings

    def __call__(self, labels: Labels, now: int) -> tuple[int, int, str]:
        """Looks at the versions since the latest that is known well; those that served too briefly are passed over.

        Args:
          labels: which versions served, one after the other.
          now: seconds.

        Returns:
          The latest version that is known well now, 0 = none; the first one that must go, 0 = none; and why.
        """
        chain = [version for version in labels.unjudged if str(version) not in labels.refused]
        before, known = None, labels.judged
        for version in chain if len(chain) > 1 else ():
            found = rewards_of(self._log, version, self._domain, self._settings, now)
            if found.count < self._settings.watched:
                continue
            if before is not None and (reason := objection(found, before, self._settings)):
                return known, version, reason
            before = found
            known = version if found.count >= ENOUGH * self._settings.watched else known
        return known, 0, ""


def rewards_of(log: EventLog, version: int, domain: Domain, settings: Learn, now: int) -> Rewards:
    """Reward per decision (sum over its slots) of the latest settled decisions of a version."""
    ids = list(islice(log.latest_decisions(now - settings.window, str(version)), ENOUGH * settings.watched))
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
      new: of a version.
      old: of one before it.
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
