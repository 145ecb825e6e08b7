"""Baseline: what this user takes most. Hard to beat where people buy the same things again."""

import logging
from itertools import pairwise

import numpy as np

from tfrec_llm.config import Evaluate
from tfrec_llm.data.incidence import history_rows, training_counts
from tfrec_llm.evaluation.protocol import Scorer
from tfrec_llm.types import FIRST_ITEM, Dataset, Queries

logger = logging.getLogger(__name__)


def build_own_frequent(
    dataset: Dataset, settings: Evaluate, queries: Queries, seed: int, text: np.ndarray | None = None
) -> Scorer | None:
    """The user's own items by frequency in the history, then by the latest time, then by popularity.

    All other items follow by popularity.

    Returns:
      A scorer, or None where the domain does not offer again what the user already has.
    """
    if not dataset.domain.repeat:
        logger.info(
            "baseline own_frequent is absent: in domain %s the user's own items are no candidates.", dataset.domain.name
        )
        return None
    counts = training_counts(dataset)
    others = (counts / (counts.max(initial=0) + 1)).astype(np.float32)  # [N+2] in [0, 1), below every own item

    def score(rows: np.ndarray) -> np.ndarray:
        scores = np.tile(others, (len(rows), 1))
        query, event = history_rows(queries, rows)
        item, time = dataset.interactions.item[event], dataset.interactions.time[event]
        query, item, time = (array[item >= FIRST_ITEM] for array in (query, item, time))
        for position, (start, stop) in enumerate(pairwise(np.searchsorted(query, np.arange(len(rows) + 1)))):
            own, place = _own_order(item[start:stop], time[start:stop], counts)
            scores[position, own] = place
        return scores

    return score


def _own_order(item: np.ndarray, time: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One user's different items and the place of each: 1 for the last, more is better."""
    own, inverse, frequency = np.unique(item, return_inverse=True, return_counts=True)
    latest = np.full(len(own), np.iinfo(np.int64).min)
    np.maximum.at(latest, inverse, time)
    order = np.lexsort((-own, counts[own], latest, frequency))  # ascending; the last key counts first
    place = np.empty(len(own), np.float32)
    place[order] = np.arange(1, len(own) + 1)
    return own, place
