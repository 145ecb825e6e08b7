"""The report for humans: one aligned table, stages in the order of the flow."""

import sys
from collections.abc import Mapping
from typing import TextIO

from tfrec_llm.evaluation.gains import WITHOUT_TIME, gain_key, verdict
from tfrec_llm.evaluation.report import Entry, Report

ORDER = (
    "text", "behaviour", "retrieval", "blend", "fusion", "ranking", "ope", "system", "exported",
    "system_with_utterance", "control", "baseline", "seconds", "peak_memory_gb",
)  # fmt: skip
HEADER = ("", "value", "95 % interval", "n", "split", "the system against it")


def print_table(report: Report, *, with_segments: bool = False, file: TextIO | None = None) -> None:
    """Prints the figures of a report; see `format_table`."""
    print(format_table(report, with_segments=with_segments), file=file or sys.stdout)


def format_table(report: Report, *, with_segments: bool = False) -> str:
    """The figures of a report as lines of equal columns, one block per stage.

    Args:
      report: from `read_report` or `merge_report`.
      with_segments: whether keys with a `|segment`, and gains of the system without a time, are shown too.
    """
    stages: dict[str, list[tuple[str, ...]]] = {}
    figures, beside = report["metrics"], _beside(report["metrics"])
    shown_beside = {gain_key(key) for key in beside}
    for key, value in figures.items():
        detail = "|" in key or key.startswith(gain_key("", WITHOUT_TIME))
        if key not in shown_beside and (with_segments or not detail):
            stage, _, rest = key.partition(".")
            stages.setdefault(stage, []).append((*_row(rest, value), beside.get(key, "")))
    if not stages:
        return "no figures yet"
    lines = [HEADER if beside else (*HEADER[:-1], "")]
    for stage in sorted(stages, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name)):
        lines += [(stage, *[""] * (len(HEADER) - 1)), *sorted(stages[stage])]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    return "\n".join(_aligned(line, widths) for line in [*_protocol(report), *lines])


def _beside(figures: Mapping[str, Entry]) -> dict[str, str]:
    """Key -> what the system gains over that row, for rows of the same split."""
    found = {}
    for key, value in figures.items():
        gain = figures.get(gain_key(key))
        if gain is not None and gain["split"] == value["split"]:
            low, high = gain["ci95"] or (gain["value"],) * 2
            found[key] = f"{gain['value']:+.4f} [{low:+.4f}, {high:+.4f}] {verdict(gain)}"
    return found


def _protocol(report: Report) -> list[str]:
    """What all figures of the table have in common."""
    protocol, by = report["protocol"], report["run"].get("diversity_by")
    if not protocol:
        return []
    lines = [
        "{dataset}: {items} items, {users} users, {interactions} interactions; {split}; trained on {trained_on}; "
        "candidates: {candidates}; ties {ties}".format(**protocol),
        "protocol {}; seeds {}".format(str(protocol["sha256"])[:12], ", ".join(map(str, protocol["seeds"]))),
    ]
    return [*lines[:-1], lines[-1] + f"; diversity by the items' {by}" if by else lines[-1]]


def _row(name: str, value: Entry) -> tuple[str, ...]:
    interval = "" if value["ci95"] is None else "[{}, {}]".format(*map(_number, value["ci95"]))
    return f"  {name}", _number(value["value"]), interval, str(value["n"]), value["split"]


def _number(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.1f}"


def _aligned(line: str | tuple[str, ...], widths: list[int]) -> str:
    if isinstance(line, str):
        return line
    name, *numbers, split, against = line
    cells = [name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=False))]
    return "  ".join([*cells, split.ljust(widths[-2]), against]).rstrip()
