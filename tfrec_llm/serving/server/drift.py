"""Drift: how far what is answered lately lies from what the version answered when it was exported.

The population stability index (Siddiqi, 2006) of scores, propensities and intents: below .1 little, above .25 much.
"""

import bisect
import json
import math
from collections import Counter, deque
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfrec_llm.serving.reference import NAME

WINDOW = 5000  # values that count, the latest
LEAST = 500  # fewer say nothing
_NEVER = 1e-4  # share of what was never seen, so that its logarithm is finite


class Drift:
    """Sliding windows of what is answered, against a reference."""

    def __init__(self) -> None:
        self._reference: Mapping[str, Any] = {}
        self._seen: dict[str, deque[Hashable]] = {}

    def refer_to(self, folder: Path) -> None:
        """Takes the reference of a version's folder, and starts anew; without one there is no drift to tell."""
        try:
            self._reference = json.loads((folder / NAME).read_text("utf-8"))
        except (OSError, ValueError):
            self._reference = {}
        self._seen = {name: deque(maxlen=WINDOW) for name in self._reference}

    def see(self, name: str, value: Any) -> None:
        """Counts one score, propensity or intent."""
        if name in self._seen:
            edges = self._reference[name].get("edges")
            self._seen[name].append(value if edges is None else bisect.bisect_right(edges, value))

    def indexes(self) -> dict[str, float]:
        """The index of everything that was seen often enough."""
        found = {}
        for name, seen in self._seen.items():
            if len(seen) >= LEAST:
                one = self._reference[name]
                keys = one.get("labels", range(len(one["shares"])))
                found[name] = stability_index(dict(zip(keys, one["shares"], strict=True)), seen)
        return found


def stability_index(expected: Mapping[Hashable, float], seen: Sequence[Hashable]) -> float:
    """Sum of (seen - expected) ln(seen / expected) over all classes, of shares.

    Args:
      expected: class -> share.
      seen: classes, one for each value.
    """
    counts = Counter(seen)
    total = 0.0
    for key in {*expected, *counts}:
        share, before = max(counts[key] / len(seen), _NEVER), max(expected.get(key, 0.0), _NEVER)
        total += (share - before) * math.log(share / before)
    return total
