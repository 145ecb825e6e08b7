"""What is learnt from, cut by the numbers that the event log gave, so that a replay cuts the same."""

from collections.abc import Mapping
from itertools import islice
from typing import NamedTuple

import numpy as np

from tfrec_llm.config import Learn
from tfrec_llm.evaluation.policies import judged_decisions
from tfrec_llm.feedback import EventLog, JoinSettings, join
from tfrec_llm.types import Domain, SlateFeedback

AT_ONCE = 1000  # ids that are looked at together


class Cut(NamedTuple):
    """How far the log has been learnt from."""

    event: int = 0  # events up to this number count
    time: int = 0  # decisions up to this second are settled


class Batch(NamedTuple):
    """Settled decisions with what came of them, the latest."""

    feedback: SlateFeedback  # [R]
    allowed: np.ndarray  # [R, K] bool


class Batches(NamedTuple):
    """Those that are learnt from, and those that the gate keeps for itself."""

    learnt: Batch
    judged: Batch
    counts: Mapping[str, int]  # what was left out, and why


def next_cut(log: EventLog, before: Cut, settings: Learn) -> Cut | None:
    """Where the next batch of events ends; None while there are fewer."""
    event = log.nth_event(before.event, settings.batch_events)
    if event is None:
        return None
    newest = int(log.read_events(before.event, event).time.max())
    return Cut(event, max(before.time, newest - settings.window))


def read_batches(
    log: EventLog, cut: Cut, domain: Domain, settings: Learn, share: float, fusion_version: str, candidates: int
) -> Batches:
    """The latest settled decisions of a cut, joined with the events up to it.

    Args:
      log: where they lie.
      cut: how far to read.
      domain: its rewards.
      settings: `memory`, `judged` and `window`.
      share: of the decisions that the gate keeps.
      fusion_version: contexts of another one are left out, and counted.
      candidates: K; what was not logged is not allowed.
    """
    parts, counts = [], {"other_fusion": 0}
    for ids in _latest(log, cut, settings, share):
        decisions, others = log.read_decisions(ids, fusion_version)
        events = log.read_events(upto=cut.event, decision_ids=list(decisions.decision_id))
        joined = (
            join(decisions, events, domain, JoinSettings(settings.window, skip=True)) if len(decisions.time) else None
        )
        counts["other_fusion"] += others
        if joined is None:
            parts.append(None)
            continue
        for name, count in joined.counts.items():
            counts[name] = counts.get(name, 0) + count
        order = {name: row for row, name in enumerate(decisions.decision_id)}
        rows = [order[name] for name in joined.decision_id]
        allowed = decisions.candidate_ids[rows] != ""
        parts.append(Batch(_widened(joined.feedback, candidates), _pad(allowed, candidates)))
    return Batches(*parts, counts)


def _latest(log: EventLog, cut: Cut, settings: Learn, share: float) -> tuple[list[str], list[str]]:
    """Ids of the latest settled decisions: those that are learnt from, and those that the gate keeps."""
    ids = log.latest_decisions(cut.time)
    learnt, judged = [], []
    while (len(learnt) < settings.memory or len(judged) < settings.judged) and (page := list(islice(ids, AT_ONCE))):
        for name, is_kept in zip(page, judged_decisions(page, share), strict=True):
            (judged if is_kept else learnt).append(name)
    return learnt[: settings.memory], judged[: settings.judged]


def _widened(feedback: SlateFeedback, candidates: int) -> SlateFeedback:
    return feedback._replace(candidates=_pad(feedback.candidates, candidates))


def _pad(values: np.ndarray, width: int) -> np.ndarray:
    """[R, K', ...] -> [R, K, ...], zeros behind."""
    return np.pad(values, [(0, 0), (0, max(0, width - values.shape[1])), *[(0, 0)] * (values.ndim - 2)])
