"""The server follows the label `stable`: another version is served as soon as it is there and found good."""

import asyncio
import contextlib
import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tfrec_llm.serving import versions
from tfrec_llm.serving.server.asks import ModelUnavailableError
from tfrec_llm.serving.server.measures import Measures
from tfrec_llm.serving.server.model import Model

TRIES = 3  # workers that may die over a version before it is refused
LONGER = 10.0  # times the wait before the next try, each time

log = logging.getLogger(__name__)


async def follow(model: Model, export: Path, every: float, measures: Measures) -> None:
    """Takes over what is labelled stable, without end; what can't be served is rolled back and never tried again.

    A version that workers die over is tried again after a pause, `TRIES` times in all. What the system lacks at the
    moment, such as memory for another process, is held against no version.

    Args:
      model: what serves.
      export: the export folder.
      every: seconds between two looks.
      measures: counts versions taken and refused.
    """
    deaths: Counter[int] = Counter()  # workers, by the version that they died over
    rests: dict[int, float] = {}  # until when a version is not tried
    while True:
        await asyncio.sleep(every)
        try:
            wanted = await asyncio.to_thread(_look, export)
        except (ValueError, OSError) as error:
            log.error("%s", error)
            continue
        folder = (export / str(wanted)).absolute()
        if not wanted or time.monotonic() < rests.get(wanted, 0.0) or Path(model.folder) == folder:
            continue
        try:
            await _take(model, folder, measures)
        except ModelUnavailableError as error:
            deaths[wanted] += 1
            log.warning("version %d: %s", wanted, error)
            rests[wanted] = time.monotonic() + every * LONGER ** deaths[wanted]
            if deaths[wanted] >= TRIES:
                rests[wanted] = math.inf
                await _refuse(export, wanted, f"{TRIES} workers died over it, the last so: {error}", measures)
        except OSError as error:
            log.error("version %d waits: %s", wanted, error)
        except ValueError as error:
            rests[wanted] = math.inf
            await _refuse(export, wanted, str(error), measures)


async def _take(model: Model, folder: Path, measures: Measures) -> None:
    began = time.perf_counter()
    alike = await model.switch(str(folder))
    way = "in place" if alike else "by another process"
    measures.versions.labels("in_place" if alike else "full").inc()
    if not alike:  # a policy that learns may drift from what was exported, and is told so
        measures.drift.refer_to(folder)
    log.info("model version %s is served, taken over %s in %.2f s", folder.name, way, time.perf_counter() - began)


def _look(export: Path) -> int:
    """The version that is wanted; what a TensorFlow Serving beside us could not be told before, it is told now."""
    with contextlib.suppress(OSError):  # who may only read leaves it to who may write
        versions.settle(export)
    return versions.served_version(export)


async def follow_file(path: Path, every: float, changed: Callable[[], None]) -> None:
    """Calls `changed` in a thread whenever a file is another one than before, without end.

    Args:
      path: the file; it need not be there.
      every: seconds between two looks.
      changed: what it raises is logged.
    """
    before = await asyncio.to_thread(_mark, path)
    while True:
        await asyncio.sleep(every)
        now = await asyncio.to_thread(_mark, path)
        if now in (before, None):
            continue
        before = now
        try:
            await asyncio.to_thread(changed)
        except (ValueError, OSError) as error:
            log.error("%s", error)


def _mark(path: Path) -> tuple[int, int] | None:
    """Tells a file from the one that was there before, None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


async def _refuse(export: Path, version: int, reason: str, measures: Measures) -> None:
    measures.versions.labels("refused").inc()
    log.error("version %d is not served: %s", version, reason)
    try:
        labels = await asyncio.to_thread(versions.roll_back, export, reason, version)
        log.warning("rolled back: version %d is stable again", labels.stable)
    except (ValueError, OSError) as error:
        log.error("%s", error)
