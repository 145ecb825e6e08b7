"""The event log as the server writes it: one thread, and what arrives together is one transaction.

A log that is locked costs a request `serving.log_wait_ms`, and one that hangs costs a decision twice that: decisions
are then answered without an id. Events are refused when it is locked or gone, and wait for their turn otherwise.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tfrec_llm.config import Serving
from tfrec_llm.feedback import DecisionRow, EventLog, EventRow, Kept, LogUnavailableError
from tfrec_llm.serving.server.measures import Measures

log = logging.getLogger(__name__)
MOST = 2000  # rows that wait for the log
LEAST = 5.0  # seconds after which a database that does not answer counts as gone, at least
SLICE = 100  # decisions that retention deletes at once
PAUSE, HOUR, DAY = 0.1, 3_600, 86_400  # seconds


@dataclass
class _Job:
    work: Callable[[EventLog], Any]
    done: asyncio.Future
    decision: DecisionRow | None = None
    since: float = field(default_factory=time.perf_counter)


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
        try:
            self._open()
        except LogUnavailableError as error:
            log.warning("%s", error)

    async def start(self) -> None:
        """Begins to write."""
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._retain())]

    async def close(self) -> None:
        """Ends when what it is writing is written."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
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

    async def events(self, rows: Sequence[EventRow]) -> Kept:
        """Keeps events; returns when they are on disk.

        Raises:
          LogUnavailableError: nothing was kept, or it took longer than `serving.timeout_ms` to know.
          ValueError: a row that could not be counted.
        """
        return await self._ask(lambda kept: kept.add_events(rows), patient=True)

    async def available(self) -> bool:
        """Whether the log can be read now."""
        try:
            await self._ask(lambda kept: kept.known_decisions(["?"]))
        except LogUnavailableError:
            return False
        return True

    async def _ask(
        self, work: Callable[[EventLog], Any], decision: DecisionRow | None = None, patient: bool = False
    ) -> Any:
        """What `work` returns in the log's thread; the patient wait for those before them."""
        most = self._settings.timeout_ms / 1000 if patient else 2 * self._wait
        if self._stuck_since and time.perf_counter() - self._stuck_since > most:
            raise LogUnavailableError("the event log is busy; send the same again in a moment")
        job = _Job(work, asyncio.get_running_loop().create_future(), decision)
        try:
            self._jobs.put_nowait(job)
            return await asyncio.wait_for(job.done, most)
        except (asyncio.QueueFull, TimeoutError) as error:
            raise LogUnavailableError("the event log is busy; send the same again in a moment") from error

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            jobs = [await self._jobs.get()]
            while not self._jobs.empty():
                jobs.append(self._jobs.get_nowait())
            wanted = [job for job in jobs if not job.done.done()]
            self._stuck_since = time.perf_counter()
            results = await loop.run_in_executor(self._thread, self._work, wanted)
            self._stuck_since = 0.0
            for job, (result, error) in zip(wanted, results, strict=True):
                self._settle(job, result, error)

    def _settle(self, job: _Job, result: Any, error: Exception | None) -> None:
        if isinstance(error, LogUnavailableError):
            self._measures.log_errors.inc()
        if job.done.done():
            return
        if error is None:
            job.done.set_result(result)
        else:
            job.done.set_exception(error)

    def _work(self, jobs: Sequence[_Job]) -> list[tuple[Any, Exception | None]]:
        """In the log's thread: all decisions in one transaction, then the rest one by one, in order."""
        try:
            kept = self._open()
            together = [job.decision for job in jobs if job.decision is not None]
            if len(together) > 1 and self._all(kept, together):
                return [(True, None) if job.decision is not None else _tried(job, kept) for job in jobs]
        except Exception as error:  # every job gets it as its own
            return [(None, error)] * len(jobs)
        return [_tried(job, kept) for job in jobs]

    def _all(self, kept: EventLog, rows: Sequence[DecisionRow]) -> bool:
        """Keeps decisions together; False where one of them is refused and each must be tried alone."""
        try:
            kept.add_decisions(rows)
        except ValueError:
            return False
        return True

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


def _tried(job: _Job, kept: EventLog) -> tuple[Any, Exception | None]:
    try:
        return job.work(kept), None
    except Exception as error:  # the job's own
        return None, error
