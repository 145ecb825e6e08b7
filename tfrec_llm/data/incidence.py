"""Users by items as sparse matrices: what the baselines without training code of ours are computed from."""

import numpy as np
from scipy import sparse

from tfrec_llm.evaluation.protocol import history_rows
from tfrec_llm.types import FIRST_ITEM, Dataset, Queries


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


def _csr(row: np.ndarray, column: np.ndarray, value: np.ndarray, shape: tuple[int, int]) -> sparse.csr_matrix:
    return sparse.csr_matrix((value.astype(np.float32), (row, column)), shape=shape)
