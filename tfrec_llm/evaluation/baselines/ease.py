"""Baseline: EASE, item to item weights in closed form (Steck, 2019, "Embarrassingly shallow autoencoders").

On sequences it is weak as published, because it forgets the order, and strong once the history is weighted by recency.
"""

import logging
from weakref import WeakValueDictionary

import numpy as np
from scipy import sparse
from scipy.linalg import lapack

from tfrec_llm.config import Evaluate
from tfrec_llm.evaluation.incidence import history_matrix, training_matrix
from tfrec_llm.evaluation.protocol import Scorer
from tfrec_llm.types import Dataset, Queries

logger = logging.getLogger(__name__)
BLOCK_ROWS = 512
_weights: WeakValueDictionary[tuple[int, float], np.ndarray] = WeakValueDictionary()  # of scorers that are still in use


def build_ease(dataset: Dataset, settings: Evaluate, queries: Queries, seed: int) -> Scorer | None:
    """EASE with a history of zeros and ones; None above `ease_max_items`."""
    return _build("ease", dataset, settings, queries, decay=None)


def build_ease_recency(dataset: Dataset, settings: Evaluate, queries: Queries, seed: int) -> Scorer | None:
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


def ease_weights(owned: sparse.csr_matrix, l2: float) -> np.ndarray:
    """Minimises |X - X B|^2 + l2 |B|^2 with a zero diagonal: B = I - P / diag(P), P = (X'X + l2 I)^-1.

    Computed in place: one matrix of N+2 by N+2 in float32, and a block of it.

    Args:
      owned: X [U, N+2] of 0 and 1.
      l2: ridge penalty.

    Returns:
      [N+2, N+2] float32, row = item owned, column = item scored.

    Raises:
      ValueError: the penalty is too small for the matrix to be inverted.
    """
    num_rows, by_item = owned.shape[1], owned.T.tocsr()
    weights = np.empty((num_rows, num_rows), np.float32, order="F")
    for start in range(0, num_rows, BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        weights[:, block] = (by_item[block] @ owned).toarray().T  # X'X is symmetric
    weights[np.diag_indices(num_rows)] += l2
    weights, failed = lapack.spotrf(weights, lower=True, overwrite_a=True)
    if not failed:
        weights, failed = lapack.spotri(weights, lower=True, overwrite_c=True)  # the lower half of P
    if failed:
        raise ValueError(
            f"expected an EASE penalty that makes the item matrix invertible, got {l2}; raise evaluate.ease_l2."
        )
    for start in range(0, num_rows, BLOCK_ROWS):  # mirrors the lower half
        stop = min(start + BLOCK_ROWS, num_rows)
        weights[start:stop, stop:] = weights[stop:, start:stop].T
        square = np.tril(weights[start:stop, start:stop])
        weights[start:stop, start:stop] = square + np.tril(square, -1).T
    weights /= -weights.diagonal().copy()  # column j by -P_jj
    weights[np.diag_indices(num_rows)] = 0
    return weights
