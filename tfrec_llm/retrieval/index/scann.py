"""ScaNN behind the verbs of our indexes: approximate search for bulk work (Guo et al., ICML 2020).

Its package is an optional extra and imported only where an index is made. The export never uses it: a stock server
lacks its operations.
"""

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfrec_llm.config import setting
from tfrec_llm.layers.top_k import LOWEST
from tfrec_llm.retrieval.index.answers import Found, checked, filled, shown_rows
from tfrec_llm.types import FIRST_ITEM

AT_ONCE = 256  # queries
AMPLE = 10  # times as many items as are wanted lie in the partitions that are searched, at least
TOO_FEW = 1_000  # items: below, ScaNN's partitions have nothing to learn from, and it scores all of them


@dataclass(frozen=True)
class ScannSettings:
    """Settings of `scann`."""

    leaves: int = setting(0, "partitions of the items; 0 = the root of their number", low=0)
    leaves_searched: int = setting(
        0, "partitions that a query looks into; 0 = a tenth, more of a small catalogue", low=0
    )
    reorder: int = setting(500, "best by quantised vectors that are scored again exactly, at least k", low=1)
    dimensions_per_block: int = setting(2, "coordinates that share one code", low=1)


class ScannIndex:
    """Approximate search by ScaNN; exclusions are left out of a longer answer, so k places are filled where it can.

    Args:
      settings: see `ScannSettings`.
      table: [N+2, D] item vectors; rows 0 and 1 are no items.
      shown: [N+2] bool, items that may come back; None = all.

    Raises:
      ValueError: ScaNN is not installed, or table or `shown` of a wrong shape.
    """

    def __init__(self, settings: ScannSettings, table: np.ndarray, shown: np.ndarray | None = None):
        self._rows, self._places = shown_rows(table, shown)
        self._dim = table.shape[1]
        self._search = scann_searcher(settings, table[self._rows])

    def search(self, queries: np.ndarray, k: int, exclude: np.ndarray | None = None) -> Found:
        """See `Index`."""
        queries, exclude = checked(queries, k, exclude, self._dim)
        exclude = np.where((exclude >= FIRST_ITEM) & (exclude < len(self._places)), exclude, 0)
        order = np.argsort((exclude > 0).sum(axis=1), kind="stable")
        groups = [order[start : start + AT_ONCE] for start in range(0, len(order), AT_ONCE)]
        parts = [self._some(queries[group], k, exclude[group]) for group in groups]
        return Found(*(np.concatenate(part)[np.argsort(order)] for part in zip(*parts, strict=True)))

    def _some(self, queries: np.ndarray, k: int, exclude: np.ndarray) -> Found:
        """As `search`, for a few queries with about as many exclusions each: the longest list is paid for by all."""
        width = (exclude > 0).sum(axis=1).max()
        exclude = -np.sort(-exclude, axis=1)[:, :width]
        places, products = self._search(queries, k + width)
        item_ids = np.append(self._rows, 0)[places]  # -1 is the 0 at the end
        own = len(self._places) * np.arange(len(queries))[:, np.newaxis]  # an item is another one in each row
        wanted = (item_ids > 0) & ~np.isin(item_ids + own, exclude + own)
        order = np.argsort(~wanted, axis=1, kind="stable")  # what stays moves up
        scores = np.take_along_axis(np.where(wanted, products, LOWEST), order, axis=1)
        return filled(np.take_along_axis(item_ids, order, axis=1), scores, min(k, len(self._places) - FIRST_ITEM))


def scann_searcher(settings: ScannSettings, vectors: np.ndarray) -> Callable[[np.ndarray, int], tuple]:
    """Builds ScaNN's searcher.

    Args:
      settings: see `ScannSettings`.
      vectors: [M, D] float32.

    Returns:
      queries [B, D], k -> places [B, k] in `vectors` and inner products [B, k], best first; places are -1 or products
      nan where ScaNN found fewer.

    Raises:
      ValueError: ScaNN is not installed.
    """
    builder = _library().scann_ops_pybind.builder(np.asarray(vectors, np.float32), 10, "dot_product")
    count = len(vectors)
    leaves = min(settings.leaves or math.isqrt(count), count)
    tenth = -(-leaves // 10)
    if count < TOO_FEW:
        searcher = builder.score_brute_force().build()
    else:
        tree = builder.tree(num_leaves=leaves, num_leaves_to_search=tenth, training_sample_size=min(count, 250_000))
        coded = tree.score_ah(settings.dimensions_per_block, anisotropic_quantization_threshold=0.2)
        searcher = coded.reorder(settings.reorder).build()

    def search(queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        wanted = min(k, count)
        searched = settings.leaves_searched or max(tenth, -(-AMPLE * wanted * leaves // count))
        places, products = searcher.search_batched(
            queries,
            final_num_neighbors=wanted,
            pre_reorder_num_neighbors=max(settings.reorder, wanted),
            leaves_to_search=min(searched, leaves),
        )
        places = np.asarray(places, np.int64)
        return np.where(np.isfinite(products) & (places < count), places, -1), np.asarray(products, np.float32)

    return search


def _library() -> Any:
    try:
        return importlib.import_module("scann")
    except ImportError as error:
        raise ValueError(
            f"retrieval.index: scann needs the package scann, got {error}; install it beside the rest with "
            "`.venv/bin/pip install --no-deps scann==1.4.2`, or take retrieval.index=exact."
        ) from error
