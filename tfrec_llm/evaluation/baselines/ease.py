"""Baseline: EASE, item to item weights in closed form (Steck, 2019, "Embarrassingly shallow autoencoders").

On sequences it is weak as published, because it forgets the order, and strong once the history is weighted by recency.
"""

import logging
from weakref import WeakValueDictionary

import numpy as np

from tfrec_llm.config import Evaluate
from tfrec_llm.data.incidence import ease_weights, history_matrix, training_matrix
from tfrec_llm.evaluation.protocol import Scorer
from tfrec_llm.types import Dataset, Queries

logger = logging.getLogger(__name__)
_weights: WeakValueDictionary[tuple[int, float], np.ndarray] = WeakValueDictionary()  # of scorers that are still in use


def build_ease(
    dataset: Dataset, settings: Evaluate, queries: Queries, seed: int, text: np.ndarray | None = None
) -> Scorer | None:
    """EASE with a history of zeros and ones; None above `ease_max_items`."""
    return _build("ease", dataset, settings, queries, decay=None)


def build_ease_recency(
    dataset: Dataset, settings: Evaluate, queries: Queries, seed: int, text: np.ndarray | None = None
) -> Scorer | None:
    """The same weights, the history weighted by exp(-age / ease_decay); None above `ease_max_items`."""
    return _build("ease_recency", dataset, settings, queries, decay=settings.ease_decay)


def _build(name: str, dataset: Dataset, settings: Evaluate, queries: Queries, decay: float | None) -> Scorer | None:
    num_items = len(dataset.catalogue.item_ids) - 2
    if num_items > settings.ease_max_items:
        logger.info(
            "baseline %s is absent: %d items, evaluate.ease_max_items = %d (its matrix would take %.1f GB).",
            name, num_items, settings.ease_max_items, 4e-9 * num_items**2,
        )  # fmt: skip
        return None
    key = id(dataset), settings.ease_l2  # the scorer holds the data set as long as its weights live
    weights = _weights.get(key)
    if weights is None:
        weights = _weights[key] = ease_weights(training_matrix(dataset), settings.ease_l2)
    return lambda rows: history_matrix(dataset, queries, rows, decay) @ weights
