"""Ours and a peer in turn, in one run: the entries of bench.json."""

import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tfrec_llm.config import Config

Rate = Callable[[], float]  # runs once and says how many units a second it did


@dataclass(frozen=True)
class Settings:
    """What all benches share."""

    config: Config
    rounds: int
    encoders: tuple[str, ...]
    texts: int
    events: int = 40_000
    served: Path = Path("runs/video")
    reloads: int = 200
    kills: int = 50
    seconds: float = 60.0


def paired(label: str, ours: Rate, peer: Rate, rounds: int, unit: str, setup: Mapping[str, Any]) -> dict[str, Any]:
    """Measures two programs in turn; who begins changes from round to round, and each runs once before it counts.

    Args:
      label: shown at the progress bar.
      ours: runs ours once.
      peer: runs the peer once, on the same work.
      rounds: pairs of runs, at least 5 for a figure to be published.
      unit: of the rates, such as texts/s.
      setup: threads, precision and so on.

    Returns:
      An entry of bench.json: median rates, and median, least and greatest of the paired ratios.
    """
    ours(), peer()
    pairs = []
    for number in tqdm(range(rounds), desc=label, unit="round"):
        if number % 2:
            theirs = peer()
            pairs.append((ours(), theirs))
        else:
            pairs.append((ours(), peer()))
    return entry(pairs, unit, setup)


def entry(pairs: Sequence[tuple[float, float]], unit: str, setup: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of bench.json from paired rates (ours, peer), above 1 better for us."""
    ratios = [ours / peer for ours, peer in pairs]
    return {
        "ours": statistics.median(ours for ours, _ in pairs),
        "peer": statistics.median(peer for _, peer in pairs),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "unit": unit,
        "rounds": len(pairs),
        "setup": dict(setup),
    }


def table(entries: Mapping[str, Mapping[str, Any]]) -> str:
    """The entries as lines for the eye."""
    heads = ("bench", "ours", "peer", "unit", "ratio", "least", "greatest", "one: ours ms", "peer ms")
    rows = [heads]
    for key, one in sorted(entries.items()):
        if "ratio" not in one:
            rows.append((key, f"{one['value']:,.2f}", "", one["unit"], *[""] * 5))
            continue
        alone = [f"{one['ms'][who]:.2f}" for who in ("ours", "peer")] if "ms" in one else ["", ""]
        ratios = [f"{one[which]:.2f}" for which in ("ratio", "ratio_min", "ratio_max")]
        rows.append((key, f"{one['ours']:,.1f}", f"{one['peer']:,.1f}", one["unit"], *ratios, *alone))
    widths = [max(map(len, column)) for column in itertools.zip_longest(*rows, fillvalue="")]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def markdown(entries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The entries that have a peer as the lines of a table: medians, the ratio with its range, one alone in ms."""
    lines = [
        "| bench | ours | peer | unit | ratio, median [least, greatest] | one alone, ours and peer |",
        "|---" * 6 + "|",
    ]
    for key, one in sorted((key, one) for key, one in entries.items() if "ratio" in one):
        ratio = f"{one['ratio']:.2f} [{one['ratio_min']:.2f}, {one['ratio_max']:.2f}]"
        alone = f"{one['ms']['ours']:.1f} and {one['ms']['peer']:.1f} ms" if "ms" in one else ""
        name = key.replace("|", " of ")
        ours, peer = (f"{one[who]:,.0f}" if one[who] >= 10 else f"{one[who]:.2g}" for who in ("ours", "peer"))
        lines.append(f"| {name} | {ours} | {peer} | {one['unit']} | {ratio} | {alone} |")
    return lines


def markdown_alone(entries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The entries without a peer as the lines of a table: what was measured, and the range of its rounds."""
    lines = ["| bench, no peer | measured | unit | least and greatest |", "|---" * 4 + "|"]
    for key, one in sorted((key, one) for key, one in entries.items() if "ratio" not in one):
        least, greatest = (one["setup"].get(f"ratio_{end}") for end in ("min", "max"))
        between = "" if least is None else f"{least:.2f} and {greatest:.2f}"
        lines.append(f"| {key} | {one['value']:,.2f} | {one['unit']} | {between} |")
    return lines if len(lines) > 2 else []
