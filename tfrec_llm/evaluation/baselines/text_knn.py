"""Baseline: items whose texts are like those of what the user has."""

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
    """Cosine of each item's text vector and the mean of the history's, later items heavier with `text_knn_decay`.

    Learns nothing from events, so that an item that nobody has taken yet is ranked like any other.

    Returns:
      A scorer; an item without text, and every item for a user without any, scores 0. None without text vectors.
    """
    if text is None or not np.any(text):
        logger.info("baseline text_knn is absent: there are no text vectors; run the text stage first.")
        return None
    if len(text) != len(dataset.catalogue.item_ids):
        raise ValueError(
            f"expected a text vector for each of {len(dataset.catalogue.item_ids)} item indices, got {len(text)}; "
            "run the text stage again."
        )
    unit = unit_rows(text)
    decay = settings.text_knn_decay or None

    def score(rows: np.ndarray) -> np.ndarray:
        return unit_rows(history_matrix(dataset, queries, rows, decay) @ unit) @ unit.T

    return score


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """[..., D] float32 of length 1; a zero row stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros(vectors.shape, np.float32), where=length > 0)
