"""Baseline: items whose texts are like those of what the user has.

Learns nothing from events, so that an item that nobody has taken yet is ranked like any other.
"""

import logging

import numpy as np

from tfrec_llm.config import Evaluate
from tfrec_llm.data.incidence import history_matrix
from tfrec_llm.evaluation.protocol import Scorer
from tfrec_llm.types import Dataset, Queries

logger = logging.getLogger(__name__)


def build_text_knn(
    dataset: Dataset, settings: Evaluate, queries: Queries, seed: int, text: np.ndarray | None = None
) -> Scorer | None:
    """Cosine of each item's text vector and the mean of the history's.

    Returns:
      A scorer; an item without text, and every item for a user without any, scores 0. None without text vectors.
    """
    return _build("text_knn", dataset, settings, queries, text, decay=None)


def build_text_knn_recency(
    dataset: Dataset, settings: Evaluate, queries: Queries, seed: int, text: np.ndarray | None = None
) -> Scorer | None:
    """The same with the history weighted by exp(-age / text_knn_decay)."""
    return _build("text_knn_recency", dataset, settings, queries, text, decay=settings.text_knn_decay)


def text_directions(text: np.ndarray, centre: bool) -> np.ndarray:
    """Text vectors as text_knn compares them.

    Args:
      text: [N+2, D], zero where an item has no text.
      centre: subtract the mean of all items first. What all vectors of an encoder have in common says nothing, and in
        the mean of a long history little else is left (Mu and Viswanath, 2018).

    Returns:
      [N+2, D] float32 of length 1; a zero row stays zero.
    """
    known = np.any(text, axis=1)
    if centre and known.any():
        text = np.where(known[:, None], text - text[known].mean(axis=0), 0)
    return _unit_rows(text)


def _build(
    name: str, dataset: Dataset, settings: Evaluate, queries: Queries, text: np.ndarray | None, decay: float | None
) -> Scorer | None:
    if text is None or not np.any(text):
        logger.info("baseline %s is absent: there are no text vectors; run the text stage first.", name)
        return None
    if len(text) != len(dataset.catalogue.item_ids):
        raise ValueError(
            f"expected a text vector for each of {len(dataset.catalogue.item_ids)} item indices, got {len(text)}; "
            "run the text stage again."
        )
    unit = text_directions(text, settings.text_knn_centre)
    return lambda rows: _unit_rows(history_matrix(dataset, queries, rows, decay) @ unit) @ unit.T


def _unit_rows(vectors: np.ndarray) -> np.ndarray:
    """[..., D] float32 of length 1; a zero row stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros(vectors.shape, np.float32), where=length > 0)
