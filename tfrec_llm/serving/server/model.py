"""The model behind the server: requests that arrive together are decided together.

A dead worker is replaced, by one of another version where its own cannot be loaded any more. Another version is taken
over between two batches: in place where it differs in its policy alone, else by a second worker that is loaded and warm
before the first one ends.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tfrec_llm.config import Serving
from tfrec_llm.serving.manifest import POLICY_FILES, differs_in
from tfrec_llm.serving.server import process
from tfrec_llm.serving.server.asks import AnswerError, Ask, Decided, Facts, ModelUnavailableError, Waiting
from tfrec_llm.serving.server.measures import Measures

log = logging.getLogger(__name__)
PATIENCE = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # seconds before the next try, by failed starts in a row
TRIES = 2  # starts of one version that may end without a word before those before it are tried


@dataclass
class _Change:
    """Another version, to be taken over between two batches."""

    folder: str
    over: str  # folder of the version that served when it was asked for
    worker: process.Worker | None  # that has loaded it; None = the one that serves takes its policy over
    done: asyncio.Future


class Model:
    """Asks one worker at a time.

    Args:
      order: what a worker is told to load; see `process.start`.
      settings: `[serving]`.
      measures: counts and times.
      others: folders of versions that are loaded instead where that one cannot be, as things stand, the first choice
        first.
    """

    def __init__(
        self,
        order: Mapping[str, Any],
        settings: Serving,
        measures: Measures,
        others: Callable[[], Sequence[str]] = tuple,
    ):
        self._order, self._settings, self._measures = order, settings, measures
        self._others = others
        self._queue: asyncio.Queue[Waiting] = asyncio.Queue()
        self._changes: asyncio.Queue[_Change] = asyncio.Queue()
        self._worker: process.Worker | None = None
        self._task: asyncio.Task | None = None
        self._ending: set[asyncio.Task] = set()
        self.facts: Facts | None = None

    @property
    def ready(self) -> bool:
        """Whether a worker is there to answer."""
        return self._worker is not None

    async def start(self) -> None:
        """Starts the first worker and whatever keeps one there.

        Raises:
          ValueError: it cannot load the model, nor one of the other versions.
          OSError: there can be no process now.
        """
        self._take(await self._first())
        self._measures.drift.refer_to(Path(self.folder))
        self._task = asyncio.create_task(self._keep())

    async def decide(self, ask: Ask) -> Decided:
        """One decision.

        Raises:
          AnswerError: the model failed on this request.
          ModelUnavailableError: there is no worker, it died over this request, or too many wait for it.
        """
        if self._worker is None:
            raise ModelUnavailableError("the model is being loaded; ask again in a moment")
        if self._queue.qsize() >= self._settings.max_waiting:
            raise ModelUnavailableError("too many requests wait for the model; ask again in a moment")
        waiting = Waiting(ask, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(waiting)
        return await waiting.answer

    @property
    def folder(self) -> str:
        """Of the version that is served, or will be when a worker is there again."""
        return self._order["model"]

    async def switch(self, folder: str) -> bool:
        """Serves another version; no request is refused for it.

        Args:
          folder: the version's.

        Returns:
          Whether it was taken over in place.

        Raises:
          ValueError: it can't be served; the version before goes on.
          ModelUnavailableError: the worker died over it.
        """
        over = self.folder
        alike = await asyncio.to_thread(differs_in, Path(over), Path(folder), POLICY_FILES)
        worker = None if alike else await process.start({**self._order, "model": folder})
        change = _Change(folder, over, worker, asyncio.get_running_loop().create_future())
        self._changes.put_nowait(change)
        return alike if await change.done else await self.switch(folder)

    async def close(self) -> None:
        """Ends the worker; what waits for it is refused."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._drop()
        while not self._changes.empty():
            change = self._changes.get_nowait()
            change.done.cancel()
            if change.worker is not None:
                await change.worker.end()
        await asyncio.gather(*self._ending)

    async def _first(self, patient: bool = False) -> process.Worker:
        """A worker of the version that is wanted, else of the first other one that can be loaded.

        Args:
          patient: a worker that ends without a word says nothing of its version yet.

        Raises:
          ValueError: none can be loaded.
          ModelUnavailableError: the worker ended without a word.
          OSError: there can be no process now.
        """
        errors = []
        for folder in self._folders():
            order = {**self._order, "model": folder}
            try:
                worker = await process.start(order)
            except (ValueError, ModelUnavailableError) as error:
                if patient and isinstance(error, ModelUnavailableError):
                    raise
                errors.append(error)
                continue
            for error in errors:
                log.error("%s", error)
            if errors:
                log.error("model version %s serves instead", worker.facts.version)
            self._order = order
            return worker
        raise ValueError(str(errors[0])) from errors[0]

    def _folders(self) -> Iterator[str]:
        yield self.folder
        yield from (other for other in self._others() if other != self.folder)

    def _take(self, worker: process.Worker) -> None:
        self._worker, self.facts = worker, worker.facts
        log.info("model version %s is served by process %d", worker.facts.version, worker.pid)

    async def _drop(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.end()
        while not self._queue.empty():
            self._queue.get_nowait().fail(ModelUnavailableError("the model died; it is being started again"))

    async def _change(self, change: _Change) -> bool:
        """Takes a version over; False where the worker died over it."""
        if change.worker is None and change.over != self.folder:  # a policy fits no other graph
            change.done.set_result(False)
            return True
        try:
            if change.worker is None:
                self.facts = await self._worker.reload(change.folder)
            else:
                ending = asyncio.create_task(self._worker.end())  # nothing is open there between two batches
                self._ending.add(ending)
                ending.add_done_callback(self._ending.discard)
                self._take(change.worker)
        except (ValueError, ModelUnavailableError) as error:
            change.done.set_exception(error)
            return isinstance(error, ValueError)
        self._order = {**self._order, "model": change.folder}
        change.done.set_result(True)
        return True

    async def _keep(self) -> None:
        """Serves with one worker after the other."""
        failures = 0
        while True:
            if self._worker is not None:
                failures = 0
                await self._serve()
                await self._drop()
                self._measures.worker_deaths.inc()
                log.warning("the model worker died; another one is started")
            await asyncio.sleep(PATIENCE[min(failures, len(PATIENCE) - 1)])
            if await self._changed():
                continue
            before = self.folder
            try:
                self._take(await self._first(failures < TRIES))
            except (ValueError, OSError, ModelUnavailableError) as error:
                failures += 1
                log.error("%s", error)
            if self.folder != before:
                self._measures.drift.refer_to(Path(self.folder))

    async def _changed(self) -> bool:
        """Without a worker, takes a version over that waits for it; False where none does, or it can't be loaded."""
        while not self._changes.empty():
            change = self._changes.get_nowait()
            try:
                self._take(change.worker or await process.start({**self._order, "model": change.folder}))
            except (ValueError, OSError, ModelUnavailableError) as error:
                change.done.set_exception(error)
                continue
            self._order = {**self._order, "model": change.folder}
            change.done.set_result(True)
            return True
        return False

    async def _serve(self) -> None:
        """Batch after batch, and versions between them, until the worker is dead."""
        died = asyncio.create_task(self._worker.died())
        first, change = asyncio.create_task(self._queue.get()), asyncio.create_task(self._changes.get())
        batch: list[Waiting] = []
        try:
            while True:
                await asyncio.wait((first, change, died), return_when=asyncio.FIRST_COMPLETED)
                if change.done():
                    if not await self._change(change.result()):
                        return
                    died.cancel()
                    died = asyncio.create_task(self._worker.died())
                    change = asyncio.create_task(self._changes.get())
                elif first.done():
                    batch = await self._gather(first.result())
                    if batch and not await self._answer(self._worker, batch):
                        return
                    first = asyncio.create_task(self._queue.get())
                else:
                    return
        finally:
            died.cancel()
            left = [first.result()] if first.done() else []
            if change.done() and not change.result().done.done():
                self._changes.put_nowait(change.result())
            change.cancel()
            first.cancel()
            for waiting in (*batch, *left):
                waiting.fail(ModelUnavailableError("the model is gone; ask again in a moment"))

    async def _gather(self, first: Waiting) -> list[Waiting]:
        """The rows of the next batch; those that nobody waits for any more are left out."""
        if self._settings.batch_wait_ms and self._queue.qsize() < self._settings.max_batch - 1:
            await asyncio.sleep(self._settings.batch_wait_ms / 1000)
        batch = [first]
        while len(batch) < self._settings.max_batch and not self._queue.empty():
            batch.append(self._queue.get_nowait())
        return [waiting for waiting in batch if not waiting.answer.done()]

    async def _answer(self, worker: process.Worker, batch: list[Waiting]) -> bool:
        """Decides a batch; False where the worker is dead. A batch that fails is tried row by row."""
        began = time.perf_counter()
        try:
            decided, seconds = await worker.decide([waiting.ask for waiting in batch])
        except AnswerError as error:
            if len(batch) == 1:
                batch[0].fail(error)
                return True
            return all([await self._answer(worker, [waiting]) for waiting in batch])
        except ModelUnavailableError as error:
            for waiting in batch:
                waiting.fail(error)
            return False
        self._measures.decided(decided, seconds, [began - waiting.since for waiting in batch])
        for waiting, answer in zip(batch, decided, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(replace(answer, fusion_version=worker.facts.fusion_version))
        return True
