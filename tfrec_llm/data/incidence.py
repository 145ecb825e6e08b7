"""Users by items as sparse matrices, and item to item weights in closed form.

The baselines without training code of ours are computed from them, and the candidate source's neighbours.
"""

import numpy as np
from scipy import sparse
from scipy.linalg import lapack

from tfrec_llm.types import FIRST_ITEM, Dataset, Queries

BLOCK_ROWS = 512


def training_counts(dataset: Dataset) -> np.ndarray:
    """[N+2] int64 training events of each item; padding and unknown have none."""
    counts = np.bincount(dataset.interactions.item[dataset.split.train], minlength=len(dataset.catalogue.item_ids))
    counts[:FIRST_ITEM] = 0
    return counts


def training_matrix(dataset: Dataset) -> sparse.csr_matrix:
    """[U, N+2] float32: 1 where the user has the item among the training events."""
    events, num_rows = dataset.interactions, len(dataset.catalogue.item_ids)
    known = dataset.split.train & (events.item >= FIRST_ITEM)
    key = np.unique(events.user[known].astype(np.int64) * num_rows + events.item[known])
    return _csr(key // num_rows, key % num_rows, np.ones(len(key)), (len(events.user_ids), num_rows))


def history_matrix(
    dataset: Dataset, queries: Queries, rows: np.ndarray, decay: float | None = None
) -> sparse.csr_matrix:
    """What the users of some queries already have.

    Args:
      dataset: its interactions and catalogue.
      queries: R of them.
      rows: [b] which ones.
      decay: None for ones; else the weight is exp(-age / decay), age = number of later events in the history. An item
        that occurs several times has the age of its latest event.

    Returns:
      [b, N+2] float32 weights.
    """
    num_rows = len(dataset.catalogue.item_ids)
    query, event = history_rows(queries, rows)
    item = dataset.interactions.item[event]
    age = queries.end[rows][query] - 1 - event
    weight = np.ones(len(age)) if decay is None else np.exp(-age / decay)
    known = item >= FIRST_ITEM
    key, weight = (query * num_rows + item)[known][::-1], weight[known][::-1]  # the latest event first
    key, first = np.unique(key, return_index=True)
    return _csr(key // num_rows, key % num_rows, weight[first], (len(rows), num_rows))


def history_rows(queries: Queries, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The histories of some queries as one flat list.

    Args:
      queries: R of them.
      rows: [b] which ones.

    Returns:
      position in `rows` [L] and row of the interactions [L], queries in order, each history oldest first.
    """
    length = queries.end[rows] - queries.begin[rows]
    query = np.repeat(np.arange(len(rows)), length)
    within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    return query, queries.begin[rows][query] + within


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
            f"expected a ridge penalty that makes the item matrix invertible, got {l2}; raise evaluate.ease_l2 or "
            "the least of retrieval.item_item_l2."
        )
    for start in range(0, num_rows, BLOCK_ROWS):  # mirrors the lower half
        stop = min(start + BLOCK_ROWS, num_rows)
        weights[start:stop, stop:] = weights[stop:, start:stop].T
        square = np.tril(weights[start:stop, start:stop])
        weights[start:stop, start:stop] = square + np.tril(square, -1).T
    weights = weights.T  # symmetric still; its rows now lie in one piece, so products with sparse rows copy nothing
    weights /= -weights.diagonal().copy()  # column j by -P_jj
    weights[np.diag_indices(num_rows)] = 0
    return weights


def _csr(row: np.ndarray, column: np.ndarray, value: np.ndarray, shape: tuple[int, int]) -> sparse.csr_matrix:
    return sparse.csr_matrix((value.astype(np.float32), (row, column)), shape=shape)
