"""The report for humans: one aligned table, stages in the order of the flow."""

import sys
from collections.abc import Mapping
from typing import TextIO

from tfrec_llm.evaluation.report import Entry, Report

ORDER = (
    "text", "behaviour", "retrieval", "fusion", "ranking", "ope", "system", "system_with_utterance", "control",
    "baseline", "seconds", "peak_memory_gb",
)  # fmt: skip
HEADER = ("", "value", "95 % interval", "n", "split")


def print_table(report: Report, *, with_segments: bool = False, file: TextIO | None = None) -> None:
    """Prints the figures of a report; see `format_table`."""
    print(format_table(report, with_segments=with_segments), file=file or sys.stdout)


def format_table(report: Report, *, with_segments: bool = False) -> str:
    """The figures of a report as lines of equal columns, one block per stage.

    Args:
      report: from `read_report` or `merge_report`.
      with_segments: whether keys with a `|segment` are shown too.
    """
    stages: dict[str, list[tuple[str, ...]]] = {}
    for key, value in report["metrics"].items():
        if with_segments or "|" not in key:
            stage, _, rest = key.partition(".")
            stages.setdefault(stage, []).append(_row(rest, value))
    if not stages:
        return "no figures yet"
    lines = [HEADER]
    for stage in sorted(stages, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name)):
        lines += [(stage, "", "", "", ""), *sorted(stages[stage])]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    return "\n".join(_aligned(line, widths) for line in [*_protocol(report["protocol"]), *lines])


def _protocol(protocol: Mapping) -> list[str]:
    if not protocol:
        return []
    return [
        "{dataset}: {items} items, {users} users, {interactions} interactions; {split}; trained on {trained_on}; "
        "candidates: {candidates}".format(**protocol)
    ]


def _row(name: str, value: Entry) -> tuple[str, ...]:
    interval = "" if value["ci95"] is None else "[{}, {}]".format(*map(_number, value["ci95"]))
    return f"  {name}", _number(value["value"]), interval, str(value["n"]), value["split"]


def _number(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.1f}"


def _aligned(line: str | tuple[str, ...], widths: list[int]) -> str:
    if isinstance(line, str):
        return line
    name, value, interval, n, split = line
    cells = (name.ljust(widths[0]), value.rjust(widths[1]), interval.rjust(widths[2]), n.rjust(widths[3]), split)
    return "  ".join(cells).rstrip()
