"""What a version's answers look like when it is exported: the reference that a server holds its drift against.

Imports no TensorFlow.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfrec_llm import data
from tfrec_llm.serving.golden import history_rows
from tfrec_llm.types import Dataset

NAME = "assets.extra/reference.json"
QUERIES = 256
BINS = 10  # of equal share each


def typical_rows(dataset: Dataset, width: int, seed: int) -> list[dict[str, Any]]:
    """Requests of users spread evenly over the validation queries, exploring; every other one says something synthetic.

    Args:
      dataset: what `prepare` left.
      width: events of a history at most.
      seed: of what is said.
    """
    places, rows = history_rows(dataset, width, QUERIES)
    queries = dataset.split.validation
    wanted = queries.relevant[queries.offsets[places]] if len(places) else np.zeros(0, int)
    said = data.synthesise(dataset, wanted, "train", seed)
    return [
        {**row, "request_id": f"reference {number}", "utterance": str(said[number]) if number % 2 else ""}
        for number, row in enumerate(rows)
    ]


def write_reference(folder: Path, answers: Mapping[str, Sequence[Any]]) -> None:
    """Writes `assets.extra/reference.json`.

    Args:
      folder: a version's folder, finished but for its manifest.
      answers: to typical requests, lists by name: item_ids, scores, propensities, intent.
    """
    slates = [np.array(answers[name]) for name in ("item_ids", "scores", "propensities")]
    shown = slates[0] != ""
    found = {name: _binned(values[shown]) for name, values in zip(("score", "propensity"), slates[1:], strict=True)}
    heard = [label for label in answers["intent"] if label]
    labels = sorted(set(heard))
    found["intent"] = {"labels": labels, "shares": [heard.count(label) / len(heard) for label in labels]}
    (folder / NAME).parent.mkdir(exist_ok=True)
    (folder / NAME).write_text(json.dumps(found, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


def _binned(values: np.ndarray) -> dict[str, list[float]]:
    """Edges between bins of about equal share, and these shares."""
    edges = np.unique(np.quantile(values, np.arange(1, BINS) / BINS)) if len(values) else np.zeros(0)
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return {"edges": edges.tolist(), "shares": (counts / max(len(values), 1)).tolist()}
