"""What all indexes share: the form of their answers, the items they hold, the questions they refuse."""

from typing import NamedTuple

import numpy as np

from tfrec_llm.layers.top_k import LOWEST
from tfrec_llm.types import FIRST_ITEM


class Found(NamedTuple):
    """Items of each query, best first; where fewer are allowed, item 0, `LOWEST` and False."""

    item_ids: np.ndarray  # [B, K] int32 item indices
    scores: np.ndarray  # [B, K] float32
    allowed: np.ndarray  # [B, K] bool


def shown_rows(table: np.ndarray, shown: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The rows of items that may come back, [M], and for each row of the table its place among them or -1, [N+2].

    Raises:
      ValueError: table or `shown` of a wrong shape.
    """
    if table.ndim != 2 or len(table) <= FIRST_ITEM:
        raise ValueError(f"index: expected a table [N+2, D] with an item or more, got {list(table.shape)}.")
    may = np.ones(len(table), bool) if shown is None else np.array(shown, bool)
    if may.shape != (len(table),):
        raise ValueError(f"index: expected shown [{len(table)}], one for each row of the table, got {list(may.shape)}.")
    may[:FIRST_ITEM] = False
    rows = np.flatnonzero(may).astype(np.int32)
    places = np.full(len(table), -1, np.int32)
    places[rows] = np.arange(len(rows), dtype=np.int32)
    return rows, places


def checked(queries: np.ndarray, k: int, exclude: np.ndarray | None, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Queries [B, D] float32 and exclusions [B, X], X may be 0.

    Raises:
      ValueError: k is not positive, or queries or exclusions that do not fit.
    """
    queries = np.asarray(queries, np.float32)
    exclude = np.zeros([len(queries), 0], np.int64) if exclude is None else np.asarray(exclude)
    if k < 1:
        raise ValueError(f"index: expected k of at least 1, got {k}; ask for one item or more.")
    if queries.ndim != 2 or queries.shape[1] != dim or not len(queries) or not np.isfinite(queries).all():
        raise ValueError(f"index: expected finite queries [B, {dim}], got {list(queries.shape)}; NaN or none in them?")
    if exclude.ndim != 2 or len(exclude) != len(queries):
        raise ValueError(f"index: expected exclude [{len(queries)}, X], got {list(exclude.shape)}.")
    return queries, exclude


def filled(item_ids: np.ndarray, scores: np.ndarray, k: int) -> Found:
    """Exactly k places: what is over is cut, what is missing is item 0, `LOWEST`, False."""
    short = max(0, k - item_ids.shape[1])
    item_ids = np.pad(item_ids[:, :k], [(0, 0), (0, short)])
    scores = np.pad(scores[:, :k], [(0, 0), (0, short)], constant_values=LOWEST).astype(np.float32)
    allowed = scores > LOWEST
    return Found(np.where(allowed, item_ids, 0).astype(np.int32), scores, allowed)
