"""The model behind the server where a TensorFlow Serving has it: asked in batches, watched, and never started by us."""

import asyncio
import contextlib
import logging
import time
from dataclasses import replace
from pathlib import Path

from tfrec_llm.config import Serving
from tfrec_llm.serving.manifest import fusion_of
from tfrec_llm.serving.server.asks import AnswerError, Ask, Decided, Facts, ModelUnavailableError
from tfrec_llm.serving.server.measures import Measures
from tfrec_llm.serving.server.model import PATIENCE
from tfrec_llm.serving.server.tf_serving import TensorFlowServing

log = logging.getLogger(__name__)
LOOK_SECONDS = 5.0  # between two looks at which version is served
AT_ONCE = 4  # batches that are asked at the same time
_Waiting = tuple[Ask, asyncio.Future, float]  # since when


class RemoteModel:
    """As `model.Model`, over a TensorFlow Serving.

    Args:
      url: host:port of its gRPC.
      export: the run's export folder, whose manifests say which fusion a version's contexts come from.
      settings: `[serving]`.
      measures: counts and times.
    """

    def __init__(self, url: str, export: Path, settings: Serving, measures: Measures):
        self._url, self._export = url, export
        self._settings, self._measures = settings, measures
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._served: TensorFlowServing | None = None
        self._doubt, self._free = asyncio.Event(), asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task] = set()
        self._fusions: dict[str, str] = {}
        self.facts: Facts | None = None
        self.ready = False

    async def start(self) -> None:
        """Begins to watch and to ask; the server may start before the TensorFlow Serving does."""
        self._served = TensorFlowServing(self._url, self._settings)
        await self._look()
        self._tasks |= {asyncio.create_task(self._watch()), asyncio.create_task(self._serve())}

    async def decide(self, ask: Ask) -> Decided:
        """One decision.

        Raises:
          AnswerError: the model failed on this request.
          ModelUnavailableError: the TensorFlow Serving does not answer, or too many requests wait for it.
        """
        if not self.ready:
            raise ModelUnavailableError("TensorFlow Serving cannot be reached; ask again in a moment")
        if self._queue.qsize() >= self._settings.max_waiting:
            raise ModelUnavailableError("too many requests wait for the model; ask again in a moment")
        answer = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((ask, answer, time.perf_counter()))
        return await answer

    async def close(self) -> None:
        """Stops asking; what waits is refused."""
        self.ready = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while not self._queue.empty():
            _fail([self._queue.get_nowait()], ModelUnavailableError("the server is ending; ask another one"))
        if self._served is not None:
            await self._served.close()

    async def _watch(self) -> None:
        """Looks now and then, and at once when a request was not answered."""
        failures = 0
        while True:
            if self.ready:
                with contextlib.suppress(TimeoutError):  # wait_for of Python 3.11 may lose the end of this task
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._doubt.wait()
            else:
                await asyncio.sleep(PATIENCE[min(failures, len(PATIENCE) - 1)])
            self._doubt.clear()
            failures = 0 if await self._look() else failures + 1

    async def _look(self) -> bool:
        try:
            facts = await self._served.look()
        except (ModelUnavailableError, AnswerError, ValueError) as error:
            if self.ready or self.facts is None:
                log.warning("%s: %s", self._url, error)
            self.ready = False
            return False
        if self.facts is None or self.facts.version != facts.version:
            log.info("model version %s is served by the TensorFlow Serving at %s", facts.version, self._url)
            self._measures.drift.refer_to(self._export / facts.version)
        self.facts = replace(facts, fusion_version=self._fusion(facts.version))
        self.ready = True
        return True

    def _fusion(self, version: str) -> str:
        """Which fusion a version's contexts come from; where its folder does not say, it has its own."""
        if version not in self._fusions and (found := fusion_of(self._export / version)):
            self._fusions[version] = found
        return self._fusions.get(version, version)

    async def _serve(self) -> None:
        """Batch after batch; while some are being answered, the next may go out."""
        while True:
            first = await self._queue.get()
            try:
                await self._free.acquire()
            except asyncio.CancelledError:
                _fail([first], ModelUnavailableError("the server is ending; ask another one"))
                raise
            if self._settings.batch_wait_ms and self._queue.qsize() < self._settings.max_batch - 1:
                await asyncio.sleep(self._settings.batch_wait_ms / 1000)
            batch = [first]
            while len(batch) < self._settings.max_batch and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            task = asyncio.create_task(self._settle(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _settle(self, batch: list[_Waiting]) -> None:
        try:
            await self._answer(batch)
        finally:
            self._free.release()
            _fail(batch, ModelUnavailableError("the model is gone; ask again in a moment"))

    async def _answer(self, batch: list[_Waiting]) -> None:
        """Decides a batch for those who still wait. One that fails is tried row by row."""
        wanted = [waiting for waiting in batch if not waiting[1].done()]
        if not wanted:
            return
        began = time.perf_counter()
        try:
            decided, seconds = await self._served.decide([ask for ask, _, _ in wanted])
        except ModelUnavailableError as error:
            self._doubt.set()
            _fail(wanted, error)
            return
        except (AnswerError, ValueError) as error:
            self._doubt.set()
            if len(wanted) == 1:
                _fail(wanted, AnswerError(str(error)))
                return
            for waiting in wanted:
                await self._answer([waiting])
            return
        self._measures.decided(decided, seconds, [began - since for _, _, since in wanted])
        for (_, answer, _), row in zip(wanted, decided, strict=True):
            if not answer.done():
                answer.set_result(replace(row, fusion_version=self._fusion(row.model_version)))
        if {row.model_version for row in decided} != {self.facts.version}:
            self._doubt.set()


def _fail(batch: list[_Waiting], error: Exception) -> None:
    for _, answer, _ in batch:
        if not answer.done():
            answer.set_exception(error)
