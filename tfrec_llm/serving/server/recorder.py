"""The event log as the server writes it: one thread, and what arrives together is one transaction.

A log that is locked costs a request `serving.log_wait_ms`, and one that hangs costs a decision twice that: decisions
are then answered without an id, and deleted where they were stored after all. Events are refused when it is locked or
gone, and wait for their turn otherwise. Once it has been silent for too long they are refused at once, until it answers
a question that is asked every second.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tfrec_llm.config import Serving
from tfrec_llm.feedback import DecisionRow, EventLog, EventRow, Kept, LogUnavailableError
from tfrec_llm.serving.server.measures import Measures

log = logging.getLogger(__name__)
MOST = 2000  # rows that wait for the log
LEAST = 5.0  # seconds after which a database that does not answer counts as gone, at least
BUSY = "the event log is busy; send the same again in a moment"
SLICE = 100  # decisions that retention deletes at once
PAUSE, AGAIN, HOUR, DAY = 0.1, 1.0, 3_600, 86_400  # seconds
TOGETHER = 1000  # events in one transaction, but for a request that has more
_Outcome = tuple[Any, Exception | None]  # of a job: its result, or why there is none


@dataclass
class _Job:
    work: Callable[[EventLog], Any]
    done: asyncio.Future
    decision: DecisionRow | None = None
    events: Sequence[EventRow] = ()


class Recorder:
    """Keeps decisions and events.

    Args:
      url: of the database.
      settings: `[serving]`.
      measures: counts and times.

    Raises:
      ValueError: no database URL that the event log knows.
    """

    def __init__(self, url: str, settings: Serving, measures: Measures):
        self._url, self._settings, self._measures = url, settings, measures
        self._wait = settings.log_wait_ms / 1000
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue(MOST)
        self._thread = ThreadPoolExecutor(1, "event-log")
        self._log: EventLog | None = None
        self._stuck_since = 0.0  # when the thread began what it is doing
        self._tasks: list[asyncio.Task] = []
        self._silent: asyncio.Task | None = None  # asks a log that was silent whether it answers again
        self._unwanted: list[str] = []  # decisions that were stored when their requests had given up
        self._forgetting: asyncio.Task | None = None  # deletes them
        try:
            self._open()
        except LogUnavailableError as error:
            log.warning("%s", error)

    async def start(self) -> None:
        """Begins to write."""
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._retain())]

    async def close(self) -> None:
        """Ends when what it is writing is written."""
        tasks = [*self._tasks, *filter(None, (self._silent, self._forgetting))]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._thread.shutdown(wait=True)
        if self._log is not None:
            self._log.close()

    async def decision(self, row: DecisionRow) -> bool:
        """Keeps a decision; False where the log is not available."""
        began = time.perf_counter()
        try:
            await self._ask(lambda kept: kept.add_decisions([row]), row)
        except Exception as error:  # whatever becomes of the log, the user gets the answer
            self._measures.unlogged.inc()
            if not isinstance(error, LogUnavailableError):
                log.error("a decision could not be logged: %s", type(error).__name__)
            return False
        finally:
            self._measures.part_seconds.labels("log").observe(time.perf_counter() - began)
        return True

    async def slates(self, decision_ids: Sequence[str]) -> dict[str, list[str]]:
        """Decision id -> what it showed.

        Raises:
          LogUnavailableError: the log cannot be read.
        """
        return await self._ask(lambda kept: kept.known_decisions(decision_ids), patient=True)

    async def events(self, rows: Sequence[EventRow]) -> Kept | None:
        """Keeps events; returns when they are on disk.

        Returns:
          What became of them; None where one of their decisions is not in the log any more: nothing was kept.

        Raises:
          LogUnavailableError: nothing was kept, or it took longer than `serving.timeout_ms` to know.
          ValueError: a row that could not be counted.
        """
        return await self._ask(lambda kept: kept.add_events_together([rows])[0], events=rows, patient=True)

    async def available(self) -> bool:
        """Whether the log can be read now."""
        try:
            await self._ask(lambda kept: kept.known_decisions(["?"]))
        except LogUnavailableError:
            return False
        return True

    async def _ask(
        self,
        work: Callable[[EventLog], Any],
        decision: DecisionRow | None = None,
        events: Sequence[EventRow] = (),
        patient: bool = False,
    ) -> Any:
        """What `work` returns in the log's thread; the patient wait for those before them."""
        most = self._settings.timeout_ms / 1000 if patient else 2 * self._wait
        if self._silent or (self._stuck_since and time.perf_counter() - self._stuck_since > most):
            raise LogUnavailableError(BUSY)
        job = _Job(work, asyncio.get_running_loop().create_future(), decision, events)
        try:
            self._jobs.put_nowait(job)
            return await asyncio.wait_for(job.done, most)
        except (asyncio.QueueFull, TimeoutError) as error:
            if patient and isinstance(error, TimeoutError) and not self._silent:
                self._silent = asyncio.create_task(self._until_it_answers())
            raise LogUnavailableError(BUSY) from error

    async def _until_it_answers(self) -> None:
        """Asks the log again and again; ends when it has answered."""
        while True:
            job = _Job(lambda kept: kept.known_decisions(["?"]), asyncio.get_running_loop().create_future())
            try:
                await self._jobs.put(job)
                await job.done
            except Exception:  # whatever it says, it is asked again
                await asyncio.sleep(AGAIN)
            else:
                self._silent = None
                return

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()

        def tell(*outcome: Any) -> None:
            loop.call_soon_threadsafe(self._settle, *outcome)

        while True:
            jobs = [await self._jobs.get()]
            while not self._jobs.empty():
                jobs.append(self._jobs.get_nowait())
            self._stuck_since = time.perf_counter()
            await loop.run_in_executor(self._thread, self._work, [job for job in jobs if not job.done.done()], tell)
            self._stuck_since = 0.0

    def _settle(self, job: _Job, result: Any, error: Exception | None) -> None:
        if isinstance(error, LogUnavailableError):
            self._measures.log_errors.inc()
        if job.done.done():
            if job.decision is not None and error is None:
                self._unwant(job.decision.decision_id)
        elif error is None:
            job.done.set_result(result)
        else:
            job.done.set_exception(error)

    def _unwant(self, decision_id: str) -> None:
        """Deletes a decision whose answer said that it was not stored: nobody can ever name it."""
        self._unwanted.append(decision_id)
        if self._forgetting is None:
            self._forgetting = asyncio.create_task(self._forget_unwanted())

    async def _forget_unwanted(self) -> None:
        """Ends when all of them are deleted, those included that come meanwhile."""
        while self._unwanted:
            ids, self._unwanted = self._unwanted, []
            job = _Job(lambda kept, ids=ids: kept.forget_decisions(ids), asyncio.get_running_loop().create_future())
            try:
                await self._jobs.put(job)
                await job.done
            except Exception:  # whatever the log says, it is asked again
                self._unwanted += ids
                await asyncio.sleep(AGAIN)
        self._forgetting = None

    def _work(self, jobs: Sequence[_Job], tell: Callable[..., None]) -> None:
        """In the log's thread: decisions, then what is read, then events; who is done is told at once."""
        events = [job for job in jobs if job.events]
        reads = [job for job in jobs if job.decision is None and not job.events]
        locked = self._do([job for job in jobs if job.decision is not None], _add_decisions, tell)
        gone = self._do(reads, _one_by_one, tell) or locked
        while events:
            sizes = itertools.accumulate(len(job.events) for job in events)
            count = max(1, sum(size <= TOGETHER for size in sizes))
            gone = self._do(events[:count], _add_events, tell, gone)
            events = events[count:]

    def _do(
        self,
        jobs: Sequence[_Job],
        work: Callable[[EventLog, Sequence[_Job]], list[_Outcome]],
        tell: Callable[..., None],
        gone: LogUnavailableError | None = None,
    ) -> LogUnavailableError | None:
        """Does jobs of one kind. Where the log is not available, says why: the others need not find it out again."""
        if not jobs:
            return gone
        try:
            if gone is not None:
                raise gone
            outcomes = work(self._open(), jobs)
        except Exception as error:  # every job gets it as its own
            outcomes = [(None, error)] * len(jobs)
        for job, outcome in zip(jobs, outcomes, strict=True):
            tell(job, *outcome)
        return next((error for _, error in outcomes if isinstance(error, LogUnavailableError)), None)

    def _open(self) -> EventLog:
        if self._log is None:
            self._log = EventLog(self._url, self._wait, max(LEAST, 2 * self._settings.timeout_ms / 1000))
        return self._log

    async def _retain(self) -> None:
        """Once an hour, deletes what is older than `serving.retention_days`, a little at a time."""
        while self._settings.retention_days:
            before = int(time.time()) - DAY * self._settings.retention_days
            gone = 1
            while gone:
                try:
                    done = await asyncio.to_thread(lambda before=before: self._open().forget_before(before, SLICE))
                    gone = done.decisions
                except Exception as error:  # the next hour comes
                    log.warning(
                        "retention: %s", error if isinstance(error, LogUnavailableError) else type(error).__name__
                    )
                    gone = 0
                await asyncio.sleep(PAUSE)
            await asyncio.sleep(HOUR)


def _add_decisions(kept: EventLog, jobs: Sequence[_Job]) -> list[_Outcome]:
    """All in one transaction; where one of them is refused, each alone."""
    if len(jobs) == 1:
        return _one_by_one(kept, jobs)
    try:
        kept.add_decisions([job.decision for job in jobs])
    except ValueError:
        return _one_by_one(kept, jobs)
    return [(True, None)] * len(jobs)


def _add_events(kept: EventLog, jobs: Sequence[_Job]) -> list[_Outcome]:
    """As `_add_decisions`; what each job is told are counts of its own."""
    if len(jobs) == 1:
        return _one_by_one(kept, jobs)
    try:
        return [(counts, None) for counts in kept.add_events_together([job.events for job in jobs])]
    except ValueError:
        return _one_by_one(kept, jobs)


def _one_by_one(kept: EventLog, jobs: Sequence[_Job]) -> list[_Outcome]:
    """Until the log is not available: then nobody else waits for it."""
    outcomes, gone = [], None
    for job in jobs:
        result, error = (None, gone) if gone else _tried(job, kept)
        gone = error if isinstance(error, LogUnavailableError) else None
        outcomes.append((result, error))
    return outcomes


def _tried(job: _Job, kept: EventLog) -> _Outcome:
    try:
        return job.work(kept), None
    except Exception as error:  # the job's own
        return None, error
