"""Rankings -> entries of metrics.json: every metric of the protocol with its interval, whole and by segment."""

import numpy as np

from tfrec_llm import metrics
from tfrec_llm.config import Evaluate
from tfrec_llm.evaluation.intervals import summarise
from tfrec_llm.evaluation.protocol import judge
from tfrec_llm.evaluation.report import Entry, entry
from tfrec_llm.evaluation.segments import segments
from tfrec_llm.types import FIRST_ITEM, Dataset, Queries


def figures(
    stage: str, top: np.ndarray, dataset: Dataset, queries: Queries, settings: Evaluate, seed: int
) -> dict[str, Entry]:
    """Judges rankings and summarises them.

    Args:
      stage: what the keys begin with, e.g. "behaviour" or "baseline.ease".
      top: [R, at least max(k, recall_at)] item indices, best first, from `top_items`.
      dataset: its interactions and catalogue.
      queries: R of them.
      settings: cut-offs, resamples and the split that `queries` are of.
      seed: of the intervals.

    Returns:
      Key, e.g. "behaviour.ndcg@10" or "behaviour.ndcg@10|tail" -> entry.
    """
    found = _summaries(stage, "", top, queries, settings, seed)
    shown = metrics.coverage(top[:, : settings.k], len(dataset.catalogue.item_ids) - FIRST_ITEM)
    found[f"{stage}.coverage@{settings.k}"] = entry(shown, len(top), settings.split)
    for name, segment in segments(dataset, queries).items():
        found |= _summaries(stage, f"|{name}", top[segment.rows], segment.queries, settings, seed)
    return found


def _summaries(
    stage: str, suffix: str, top: np.ndarray, queries: Queries, settings: Evaluate, seed: int
) -> dict[str, Entry]:
    found = {}
    for name, values in judge(top, queries, settings.k, settings.recall_at).items():
        figure = summarise(values, settings.bootstrap, seed)
        found[f"{stage}.{name}{suffix}"] = entry(figure.value, figure.n, settings.split, figure.ci95)
    return found
