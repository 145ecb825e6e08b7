"""Histories of queries as padded arrays: what the models are given when they are asked."""

import numpy as np

from tfrec_llm.types import Dataset, History, Interactions, Queries


def histories(interactions: Interactions, queries: Queries, rows: np.ndarray, max_length: int) -> History:
    """The newest events before each query.

    Args:
      interactions: the events that `queries` points into.
      queries: R questions.
      rows: [B] which of them.
      max_length: T.

    Returns:
      item, event [B, T] int32 and time [B, T] int64, oldest first, padded on the right with 0.
    """
    end = queries.end[rows]  # [B]
    length = np.minimum(end - queries.begin[rows], max_length)  # [B]
    step = np.arange(max_length)  # [T]
    present = step < length[:, None]  # [B, T]
    index = np.where(present, (end - length)[:, None] + step, 0)  # [B, T]
    columns = (interactions.item, interactions.event, interactions.time)
    return History(*(np.where(present, column[index], 0).astype(column.dtype) for column in columns))


def training_waits(dataset: Dataset) -> np.ndarray:
    """[W] int64 seconds from each training event to the next of its user, -1 where a time is unknown."""
    events, train = dataset.interactions, dataset.split.train
    both = train[1:] & train[:-1] & (events.user[1:] == events.user[:-1])
    before, after = events.time[:-1][both], events.time[1:][both]
    return np.where((before > 0) & (after > 0), np.maximum(after - before, 0), -1)
