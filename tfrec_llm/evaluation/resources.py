"""What a stage costs: wall seconds and the peak of resident memory."""

import re
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tfrec_llm.evaluation.report import Entry, entry

_PROCESS = Path("/proc/self")
_open: list["Usage"] = []  # the blocks being measured now, outermost first


@dataclass
class Usage:
    """What a block cost; filled when the block ends."""

    seconds: float = 0.0
    peak_memory_gb: float = 0.0  # 10^9 bytes


@contextmanager
def measure() -> Iterator[Usage]:
    """Measures the block under `with`: wall time and this process's highest resident memory within it.

    On Linux the high-water mark is set back at the start; elsewhere, or where that is forbidden, the peak is the one
    since the process began. Blocks may be nested; an outer one keeps the peaks of the inner ones.
    """
    usage, start = Usage(), time.perf_counter()
    _note_peak()
    _reset_peak()
    _open.append(usage)
    try:
        yield usage
    finally:
        usage.seconds = time.perf_counter() - start
        _note_peak()
        _open.remove(usage)


def usage_entries(stage: str, usage: Usage) -> dict[str, Entry]:
    """The entries `seconds.<stage>` and `peak_memory_gb.<stage>` of metrics.json."""
    return {
        f"seconds.{stage}": entry(usage.seconds, 1, "train", over="seeds"),
        f"peak_memory_gb.{stage}": entry(usage.peak_memory_gb, 1, "train", over="seeds"),
    }


def _note_peak() -> None:
    peak = _peak_gb()
    for usage in _open:
        usage.peak_memory_gb = max(usage.peak_memory_gb, peak)


def _reset_peak() -> None:
    try:
        (_PROCESS / "clear_refs").write_text("5")
    except OSError:
        return


def _peak_gb() -> float:
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", (_PROCESS / "status").read_text())
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024 / 1e9
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, others kibibytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
