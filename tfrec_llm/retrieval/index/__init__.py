"""Indexes over a table of item vectors, for bulk work outside the export: name -> exact or approximate search.

`exact` is the default and the only one that is exported (there as `layers.top_k` in the graph). It searches tables in
memory or, block by block, tables on disk that are larger than memory (a `numpy.memmap`).
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from tfrec_llm.config import Component, choose
from tfrec_llm.retrieval.index.answers import Found
from tfrec_llm.retrieval.index.exact import ExactIndex, ExactSettings
from tfrec_llm.retrieval.index.scann import ScannIndex, ScannSettings


class Index(Protocol):
    """What all indexes do."""

    def search(self, queries: np.ndarray, k: int, exclude: np.ndarray | None = None) -> Found:
        """The best items of each query.

        Args:
          queries: [B, D] float32, finite.
          k: places to fill; at most N of them are returned.
          exclude: [B, X] item indices that a row must not get; 0 and indices outside the table exclude nothing.

        Returns:
          K = min(k, N) items each.

        Raises:
          ValueError: k is not positive, or queries that do not fit.
        """


INDEXES: Mapping[str, tuple[type, Any]] = {"exact": (ExactSettings, ExactIndex), "scann": (ScannSettings, ScannIndex)}


def build_index(component: Component, table: np.ndarray, shown: np.ndarray | None = None) -> Index:
    """An index by its name in `INDEXES`.

    Args:
      component: `retrieval.index` of a config.
      table: [N+2, D] item vectors.
      shown: [N+2] bool, items that may come back; None = all.

    Raises:
      ConfigError: an unknown name or setting.
      ValueError: see the indexes.
    """
    settings, builder = choose(INDEXES, component, "retrieval.index")
    return builder(settings, table, shown)


def recall_of_exact(found: Found, exact: Found) -> float:
    """Share of the exact answers that another index found too, mean over queries.

    Args:
      found: of the other index.
      exact: of `exact`, on the same queries.
    """
    same = (found.item_ids[:, :, np.newaxis] == exact.item_ids[:, np.newaxis, :]).any(axis=1) & exact.allowed
    return float(np.mean(same.sum(axis=1) / np.maximum(exact.allowed.sum(axis=1), 1)))
