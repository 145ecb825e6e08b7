"""The loop: waits for a batch of events, learns, asks the gate, exports, watches."""

import logging
import time
from pathlib import Path

import numpy as np

from tfrec_llm import data
from tfrec_llm.config import Config
from tfrec_llm.evaluation.policies import Verdict
from tfrec_llm.feedback import EventLog, LogUnavailableError
from tfrec_llm.serving import bundle, versions
from tfrec_llm.serving.manifest import fusion_of
from tfrec_llm.serving.saved_model import export_policy
from tfrec_llm.serving.server.parts import log_url
from tfrec_llm.serving.update.batches import Batches, Cut, next_cut, read_batches
from tfrec_llm.serving.update.history import Learnt, add, descendants, origins, read_history
from tfrec_llm.serving.update.learner import DivergedError, Policy, judge, learn, policy_of, with_policy
from tfrec_llm.serving.update.trial import Trial
from tfrec_llm.serving.update.watch import Watch

log = logging.getLogger(__name__)
WATCH_SECONDS = 10.0  # between two looks at the rewards of a new version


class Updates:
    """What a run learns from its event log.

    Args:
      config: the run's settings.
      run: a finished run folder with an export.

    Raises:
      ValueError: no export, or a bad database URL.
      LogUnavailableError: the event log cannot be opened.
    """

    def __init__(self, config: Config, run: Path):
        self.config, self.run, self.folder = config, run, run / "export"
        if not versions.served_version(self.folder):
            raise ValueError(f"{self.folder}: expected an export, found none; run `make train` or `make export` first.")
        self.log = EventLog(log_url(run, config.serving))
        self.domain = data.read_dataset(run / "data").domain
        self._watching = Watch(self.log, self.domain, config.learn)
        self._watch_again = 0.0  # on the monotonic clock
        self._trial = Trial(run, config.serving)

    @property
    def fusion_version(self) -> str:
        """Of the contexts that the served version makes: those of others are not learnt from."""
        return fusion_of(self.folder / str(versions.served_version(self.folder)))

    def step(self) -> Learnt | None:
        """Learns from the next batch of events, if there is one, and looks after the version that serves.

        Returns:
          What was learnt; None where there are too few events, or too few settled decisions.
        """
        with versions.one_writer(self.folder):
            versions.settle(self.folder)
            self._finish()
            self._watch()
            return self._learn_next()

    def _learn_next(self) -> Learnt | None:
        done = read_history(self.folder)
        cut = next_cut(self.log, done[-1].cut if done else Cut(), self.config.learn)
        if cut is None:
            return None
        source = versions.served_version(self.folder)
        folder = self.folder / str(source)
        after, verdict, batches = self.learn(bundle.read_policy(folder), cut, len(done) + 1, fusion_of(folder))
        moved = versions.moved_from(versions.read_labels(self.folder), source) if verdict.ships else ""
        version = int(export_policy(folder, after).name) if verdict.ships and not moved else 0
        count = 0 if batches.learnt is None else len(batches.learnt.allowed)
        reason = "; ".join(part for part in (*verdict.reasons, moved) if part)
        learnt = Learnt(
            cut.event, cut.time, source, version, count, reason, verdict.incumbent, verdict.difference,
            batches.counts["other_fusion"], bool(moved),
        )  # fmt: skip
        add(self.folder, learnt)
        self._finish()
        origin = origins([*done, learnt])  # replays start there
        versions.prune(self.folder, self.config.learn.keep_versions, but=origin)
        return learnt

    def learn(self, before: Policy, cut: Cut, number: int, fusion: str) -> tuple[Policy, Verdict, Batches]:
        """The next policy, and what the gate says of it; the same whenever it is asked.

        Args:
          before: the policy that it starts from.
          cut: how far the log is read.
          number: of the batch.
          fusion: of the version that `before` is of; contexts of others are not learnt from.
        """
        agent = with_policy(self.config, self.run, before)
        wanted = (self.config.gate.share, fusion, agent.shape.num_candidates)
        batches = read_batches(self.log, cut, self.domain, self.config.learn, *wanted)
        learnt, judged = (0 if part is None else len(part.allowed) for part in batches[:2])
        if reason := self._too_few(learnt, judged):
            return before, Verdict(False, "routine", (reason,), judged, 0.0), batches
        try:
            share = learn(agent, batches.learnt, self.config, number, judged)
        except DivergedError as error:  # the next batch starts from what serves, as this one did
            log.warning("batch %d: %s", number, error)
            return before, Verdict(False, "routine", (str(error),), judged, 0.0), batches
        log.info("batch %d: %.3f of the way", number, share)
        if not share:
            reason = "no step that the log has evidence for; log more, or with more exploration"
            return before, Verdict(False, "routine", (reason,), judged, 0.0), batches
        verdict = judge(with_policy(self.config, self.run, before), agent, batches.judged, self.config)
        return policy_of(agent), verdict, batches

    def _too_few(self, learnt: int, judged: int) -> str:
        """Why nothing can come of so many decisions, "" where something may."""
        least, effective = self.config.learn.least_decisions, self.config.gate.min_effective_sample
        if min(learnt, judged) < least:
            return f"fewer than {least} settled decisions to learn from and to judge by"
        if judged < effective:
            return f"not enough evidence: expected {effective:g} effective decisions, got {judged} to judge by at all"
        return ""

    def _finish(self) -> None:
        """Serves what the last batch became, also where a killed process had come no further than its export.

        It must answer its golden queries, and its source must serve still; else it is noted as refused.
        """
        done, labels = read_history(self.folder), versions.read_labels(self.folder)
        version = done[-1].version if done else 0
        folder = self.folder / str(version)
        if version <= labels.stable or str(version) in labels.refused or not folder.is_dir():
            return
        if not (reason := self._trial.objection(folder)):
            try:
                versions.promote(self.folder, version, done[-1].source)
                return
            except versions.MovedError as error:
                reason = str(error)
        log.warning("version %d is not served: %s", version, reason)
        versions.roll_back(self.folder, reason, version)

    def _watch(self) -> None:
        """Takes a version back whose live reward is surely lower, and what was made from it."""
        labels = versions.read_labels(self.folder)
        if not labels.before or time.monotonic() < self._watch_again:
            return
        self._watch_again = time.monotonic() + WATCH_SECONDS
        known, version, reason = self._watching(labels, int(time.time()))
        if known != labels.judged:
            versions.note_judged(self.folder, known)
        if not version:
            return
        try:
            followers = descendants(read_history(self.folder), version)
            back = versions.roll_back(self.folder, reason, version, followers)
            log.warning("version %d is taken back, %d serves: %s", version, back.stable, reason)
        except ValueError as error:  # there is none to go back to: the next batch is learnt all the same
            log.error("version %d should go (%s): %s", version, reason, error)


def update(config: Config, run: Path, once: bool = False) -> None:
    """Learns from the event log, without end.

    Args:
      config: the run's settings.
      run: a finished run folder.
      once: ends when no batch of events is left.

    Raises:
      ValueError: no export, or one that does not fit the run.
    """
    updates = Updates(config, run)
    while True:
        try:
            learnt = updates.step()
        except LogUnavailableError as error:
            log.warning("%s", error)
            learnt = None
            if once:
                raise ValueError(str(error)) from error
        if learnt is not None:
            became = f"version {learnt.version}" if learnt.version else "nothing new"
            log.info(
                "events up to %d: learnt from %d decisions, %s (%s)",
                learnt.event, learnt.decisions, became, learnt.reason,
            )  # fmt: skip
        elif once:
            return
        else:
            time.sleep(config.learn.poll_seconds)


def replay(config: Config, run: Path) -> float:
    """Learns all batches again, from the log and the version that the first one started from.

    Args:
      config: as when it learnt.
      run: the run folder.

    Returns:
      The largest difference of any weight to the versions that are still there.

    Raises:
      ValueError: nothing was learnt, or the first version is gone.
    """
    updates = Updates(config, run)
    done = read_history(updates.folder)
    if not done or not (updates.folder / str(done[0].source)).is_dir():
        raise ValueError(f"{updates.folder}: expected batches that were learnt, and their first version; found none.")
    known: dict[int, tuple[Policy, str]] = {}  # version -> policy and fusion, also of those that were deleted
    largest = 0.0
    for number, learnt in enumerate(done, start=1):
        if learnt.source not in known:  # the first one, or another export came between
            folder = updates.folder / str(learnt.source)
            known[learnt.source] = bundle.read_policy(folder), fusion_of(folder)
        before, fusion = known[learnt.source]
        if learnt.only_items:
            known[learnt.version] = before, fusion
        if learnt.only_items or learnt.dropped:
            continue
        after, verdict, _ = updates.learn(before, learnt.cut, number, fusion)
        if verdict.ships != bool(learnt.version):
            raise ValueError(
                f"replay: batch {number}: the gate says {verdict.reasons}, and said {learnt.reason!r} then."
            )
        if learnt.version:
            known[learnt.version] = after, fusion
            if (updates.folder / str(learnt.version)).is_dir():
                kept = bundle.read_policy(updates.folder / str(learnt.version))
                differences = [np.abs(kept[name] - after[name]).max(initial=0) for name in after]
                largest = max(largest, float(max(differences)))
    return largest
