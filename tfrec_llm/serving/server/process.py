"""One model worker as the server sees it: a process of its own at the other end of a socket."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfrec_llm.serving.server import wire
from tfrec_llm.serving.server.asks import AnswerError, Ask, Decided, Facts, ModelUnavailableError

HANG_SECONDS = 30.0  # a worker that takes longer over one batch counts as dead
START_SECONDS = 300.0
ROOT = Path(__file__).parents[3]


class Worker:
    """A started worker; `start` makes one.

    Args:
      process: the process.
      reader: frames from it.
      writer: frames to it.
      facts: what it said when it was ready.
    """

    def __init__(self, process: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, facts: Facts):
        self._process, self._reader, self._writer, self.facts = process, reader, writer, facts

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    async def died(self) -> int:
        """Waits for the process to end; its exit status."""
        return await self._process.wait()

    async def decide(self, asks: Sequence[Ask]) -> tuple[list[Decided], dict[str, float]]:
        """Answers of a batch, and the seconds that each part took.

        Raises:
          AnswerError: the model failed on the batch.
          ModelUnavailableError: the worker died or hangs.
        """
        try:
            self._writer.write(wire.pack({"rows": [vars(ask) for ask in asks]}))
            head, arrays = await asyncio.wait_for(wire.read(self._reader), HANG_SECONDS)
        except (EOFError, OSError, TimeoutError) as error:
            raise ModelUnavailableError("the model died over this request; it is being started again") from error
        if "failed" in head:
            raise AnswerError(f"the model failed on a batch of {len(asks)} ({head['failed']})")
        return [decided_row(place, ask.k, head, arrays) for place, ask in enumerate(asks)], head["seconds"]

    async def reload(self, folder: str) -> Facts:
        """Takes the policy of another version over.

        Raises:
          ValueError: the version is refused; the worker answers as before.
          ModelUnavailableError: the worker died or hangs.
        """
        try:
            self._writer.write(wire.pack({"reload": folder}))
            head, _ = await asyncio.wait_for(wire.read(self._reader), HANG_SECONDS)
        except (EOFError, OSError, TimeoutError) as error:
            raise ModelUnavailableError("the model died over another version; it is being started again") from error
        if "refused" in head:
            raise ValueError(head["refused"])
        self.facts = Facts(**head["ready"])
        return self.facts

    async def end(self) -> None:
        """Ends the process, whatever it is doing."""
        self._writer.close()
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()


async def start(order: Mapping[str, Any]) -> Worker:
    """Starts a worker and waits until its model is loaded and warm.

    Args:
      order: the first frame: model, run, engine, threads, log_candidates.

    Raises:
      ValueError: it cannot load the model; says why.
      ModelUnavailableError: it ended without a word, as one that the system kills, or took too long.
      OSError: there can be no process now.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        command = [sys.executable, "-m", "tfrec_llm.serving.server.worker", str(theirs.fileno())]
        process = await asyncio.create_subprocess_exec(*command, pass_fds=[theirs.fileno()], env=environment)
    reader, writer = await asyncio.open_connection(sock=ours)
    try:
        writer.write(wire.pack(order))
        head, _ = await asyncio.wait_for(wire.read(reader), START_SECONDS)
        if "ready" in head:
            return Worker(process, reader, writer, Facts(**head["ready"]))
        fault = ValueError(f"model worker: expected it to load {order['model']}, got: {head['error']}.")
    except (EOFError, OSError, TimeoutError) as error:
        reason = str(error) or f"not ready after {START_SECONDS:.0f} s"
        fault = ModelUnavailableError(f"model worker: expected it to load {order['model']}, got: {reason}")
    except BaseException:
        process.kill()
        raise
    writer.close()
    if process.returncode is None:
        process.kill()
    raise fault


def decided_row(place: int, k: int, head: Mapping[str, Any], arrays: Mapping[str, Any]) -> Decided:
    """One row of a batch, its slate cut to what the row asked for; `head` and `arrays` as of `answering.Answering`."""
    row = {name: values[place] for name, values in head["rows"].items()}
    for name in ("item_ids", "scores", "propensities", "because"):
        row[name] = row[name][: max(k, 0)]
    said = arrays["embedding"][place] if head["has_text"][place] else None
    return Decided(**row, context=arrays["context"][place], features=arrays["features"][place], embedding=said)
