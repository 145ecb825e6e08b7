"""metrics.json: read, checked, merged and replaced as a whole. Programs read it, so its form is fixed (README).

`{"metrics": {key: {"value", "ci95", "over", "n", "split"}}, "protocol": {...}, "run": {...}}`. A metric that was not
computed is absent, never 0.
"""

import contextlib
import json
import logging
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

Entry = dict[str, Any]  # value, ci95, over, n, split
Report = dict[str, dict[str, Any]]  # metrics, protocol, run
KEY = re.compile(r"[\w+-]+(\.[\w@+-]+)+(\|[\w+-]+)*")  # stage.variant.metric|segment
FIELDS = {"value", "ci95", "over", "n", "split"}
PROTOCOL = {
    "dataset", "items", "users", "interactions", "split", "trained_on", "candidates", "ties", "seeds", "sha256",
}  # fmt: skip


def entry(value: float, n: int, split: str, ci95: tuple[float, float] | None = None, *, over: str = "users") -> Entry:
    """One figure in the form of metrics.json.

    Args:
      value: the mean.
      n: how many queries (or rows, or seeds) it is a mean of.
      split: what it was measured on, e.g. "validation", "test", "train" or "simulation".
      ci95: ends of its 95 % interval, None where there is none.
      over: "users" or "seeds": what the interval is over.
    """
    interval = None if ci95 is None else [float(ci95[0]), float(ci95[1])]
    return {"value": float(value), "ci95": interval, "over": over, "n": int(n), "split": split}


def read_report(path: str | Path) -> Report:
    """A metrics.json, checked; an empty report where there is no file.

    Raises:
      ValueError: the file is not a report.
    """
    path = Path(path)
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"metrics": {}, "protocol": {}, "run": {}}
    except ValueError as error:  # no JSON or no UTF-8
        raise ValueError(f"{path}: expected JSON, got {error}; move the file away and evaluate again.") from error
    try:
        check_report(report)
    except ValueError as error:
        raise ValueError(f"{path}: {error} Move the file away and evaluate again.") from error
    return report


def check_report(report: Any) -> None:
    """Refuses what does not have the fixed form.

    Raises:
      ValueError: naming the first key that is wrong.
    """
    if not isinstance(report, dict) or set(report) != {"metrics", "protocol", "run"}:
        raise ValueError(f"expected an object with metrics, protocol and run, got {_short(report)}.")
    for name, part in report.items():
        if not isinstance(part, dict):
            raise ValueError(f"{name}: expected an object, got {_short(part)}.")
    if report["protocol"] and not set(report["protocol"]) >= PROTOCOL:
        raise ValueError(f"protocol: expected {', '.join(sorted(PROTOCOL - set(report['protocol'])))} too.")
    for key, value in report["metrics"].items():
        _check_entry(key, value)


def merge_report(
    path: str | Path,
    metrics: Mapping[str, Entry],
    protocol: Mapping[str, Any] | None = None,
    run: Mapping[str, Any] | None = None,
) -> Report:
    """Adds figures to a metrics.json; equal keys are replaced, everything else stays.

    A report about other data (another `sha256` in the protocol) is never mixed with these figures: it is kept beside
    as metrics.<start of its sha256>.json.

    Args:
      path: the metrics.json; need not exist.
      metrics: key -> entry, from `entry` or `figures`.
      protocol: the data set's protocol with `seeds`; None keeps what is there.
      run: from `run_info`; None keeps what is there.

    Returns:
      The report as written.

    Raises:
      ValueError: the existing file or the new figures do not have the form; nothing is written.
      OSError: it could not be written; the old file is intact.
    """
    path, added = Path(path), {"metrics": dict(metrics), "protocol": dict(protocol or {}), "run": dict(run or {})}
    check_report(added)
    old = read_report(path)
    before, now = (report["protocol"].get("sha256") for report in (old, added))
    if before and now and before != now:
        aside = path.with_name(f"{path.stem}.{str(before)[:12]}{path.suffix}")
        logger.warning("%s: its figures are about other data; kept as %s, starting anew.", path, aside.name)
        os.replace(path, aside)
        old = {"metrics": {}, "protocol": {}, "run": {}}
    merged = {name: {**old[name], **added[name]} for name in ("metrics", "protocol", "run")}
    merged["metrics"] = dict(sorted(merged["metrics"].items()))
    _replace(path, json.dumps(merged, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return merged


def _check_entry(key: str, value: Any) -> None:
    if not KEY.fullmatch(key):
        raise ValueError(f"metrics: expected a key like stage.variant.metric|segment, got {key!r}.")
    if not isinstance(value, dict) or set(value) != FIELDS:
        raise ValueError(f"metrics: {key}: expected an object with {', '.join(sorted(FIELDS))}, got {_short(value)}.")
    interval = value["ci95"]
    ends = [] if interval is None else interval
    shaped = interval is None or (isinstance(interval, list) and len(interval) == 2)
    if not shaped or not all(type(v) in (int, float) and math.isfinite(v) for v in (value["value"], *ends)):
        raise ValueError(
            f"metrics: {key}: expected a finite value and ci95 of [low, high] or null, got {_short(value)}; "
            "a metric that was not computed is left out."
        )
    if interval is not None and interval[0] > interval[1]:
        raise ValueError(f"metrics: {key}: expected ci95 as [low, high], got {interval}.")
    if value["over"] not in ("users", "seeds") or type(value["n"]) is not int or value["n"] < 1:
        raise ValueError(f"metrics: {key}: expected over = users or seeds and n of at least 1, got {_short(value)}.")
    if not isinstance(value["split"], str) or not value["split"]:
        raise ValueError(f"metrics: {key}: expected the name of a split, got {value['split']!r}.")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _replace(path: Path, text: str) -> None:
    """Writes a whole file or none."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        message = f"could not be written ({error.strerror}); the old file is intact, make room and run again"
        raise OSError(error.errno, message, str(path)) from error
