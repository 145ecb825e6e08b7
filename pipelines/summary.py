"""The table of an experiment: means over seeds with 95 % intervals, and what each cell gains over another, paired."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from pipelines.suite import Suite

OWN, NAME = "{corpus}", "{cell}"  # in a column: the corpus that the cell learns from, and the cell's own name
Kept = Mapping[str, Sequence[Mapping[str, Any]]]  # variant -> what is kept of its seeds


def table(suite: Suite, cells: Kept) -> list[str]:
    """Lines of Markdown.

    Args:
      suite: whose columns and comparison are shown.
      cells: of `kept_cells`.

    Returns:
      One row for each variant; where the suite compares, the first column's differences with their intervals beside it.
    """
    if not cells:
        return ["No cell is kept yet."]
    columns = list(dict.fromkeys(key for pattern in suite.columns for key in _keys(pattern, cells)))
    gains = bool(suite.against) and suite.against in cells
    marks = {variant: protocols({variant: kept}) for variant, kept in cells.items()}
    apart = len(set(marks.values())) > 1
    heads = [
        "cell",
        "seeds",
        *(["protocol"] if apart else []),
        *columns,
        *([f"{columns[0]} against {suite.against}"] if gains and columns else []),
    ]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for variant, kept in cells.items():
        row = [variant, str(len(kept)), *([marks[variant]] if apart else []), *(_mean(kept, key) for key in columns)]
        if gains and columns:
            row.append("" if variant == suite.against else _gain(kept, cells[suite.against], columns[0]))
        lines.append(f"| {' | '.join(row)} |")
    return lines


def origin(cells: Kept) -> str:
    """When, where and how fast the cells were made, one sentence."""
    abouts = [(cell["about"], cell["run"]) for kept in cells.values() for cell in kept]
    days = sorted({about["date"] for about, _ in abouts})
    machines = sorted({f"{run['device']}, {about['cores']} cores" for about, run in abouts})
    longest = max(about["seconds"] for about, _ in abouts)
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return f"{span}, {' or '.join(machines)}, the longest cell {longest / 60:.1f} minutes"


def protocols(cells: Kept) -> str:
    """Starts of the hashes of the protocols that the cells were judged by, "" where none was."""
    found = [cell.get("protocol", {}).get("sha256", "")[:12] for kept in cells.values() for cell in kept]
    return ", ".join(dict.fromkeys(mark for mark in found if mark))


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of a mean over seeds by Student's t; None for fewer than two."""
    if len(values) < 2:
        return None
    half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    mean = float(np.mean(values))
    return mean - half, mean + half


def paired(ours: Sequence[Mapping], theirs: Sequence[Mapping], key: str) -> list[float]:
    """Differences of a metric, seed by seed, for the seeds that both have."""
    values = {cell["settings"]["seed"]: cell["metrics"][key]["value"] for cell in theirs if key in cell["metrics"]}
    seeds = [(cell["settings"]["seed"], cell["metrics"]) for cell in ours]
    return [metrics[key]["value"] - values[seed] for seed, metrics in seeds if seed in values and key in metrics]


def _own(cell: Mapping, key: str) -> str:
    """A key with the cell's first corpus in place of OWN, and its name in place of NAME."""
    corpus = next(iter(cell["settings"].get("text", {}).get("corpora", ())), "")
    return key.replace(OWN, corpus).replace(NAME, cell.get("about", {}).get("cell", ""))


def _keys(pattern: str, cells: Kept) -> list[str]:
    if OWN in pattern or NAME in pattern:
        return [pattern]
    wanted = re.compile(re.escape(pattern).replace(r"\*", r"[^.]+"))
    known = {key for kept in cells.values() for cell in kept for key in cell["metrics"]}
    return sorted(key for key in known if wanted.fullmatch(key))


def _mean(kept: Sequence[Mapping], key: str) -> str:
    values = [cell["metrics"][_own(cell, key)]["value"] for cell in kept if _own(cell, key) in cell["metrics"]]
    whole = key.startswith("seconds") or max(map(abs, values), default=0) >= 100  # rates, counts
    return _shown(values, "{:,.0f}" if whole else "{:.4f}") if values else ""


def _gain(kept: Sequence[Mapping], other: Sequence[Mapping], key: str) -> str:
    values = paired(kept, other, key)
    return _shown(values, "{:+.4f}") if values else ""


def _shown(values: Sequence[float], form: str) -> str:
    ends = interval(values)
    mean = form.format(float(np.mean(values)))
    return mean if ends is None else f"{mean} [{form.format(ends[0])}, {form.format(ends[1])}]"
