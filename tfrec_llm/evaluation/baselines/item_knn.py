"""Baseline: items that go with what the user has, by cosine over training users."""

from itertools import pairwise

import numpy as np
from scipy import sparse

from tfrec_llm.config import Evaluate
from tfrec_llm.data.incidence import history_matrix, training_matrix
from tfrec_llm.evaluation.protocol import Scorer
from tfrec_llm.types import Dataset, Queries

BLOCK_PRODUCTS = 20_000_000  # pairs of one user's items that a block may have: bounds memory


def build_item_knn(
    dataset: Dataset, settings: Evaluate, queries: Queries, seed: int, text: np.ndarray | None = None
) -> Scorer:
    """Sums over the user's items of their similarity to each item (Deshpande and Karypis, 2004)."""
    similarity = item_similarity(training_matrix(dataset), settings.knn_neighbours, settings.knn_shrink)
    return lambda rows: (history_matrix(dataset, queries, rows) @ similarity).toarray()


def item_similarity(owned: sparse.csr_matrix, neighbours: int, shrink: float) -> sparse.csr_matrix:
    """Shrunk cosine: users of both / (sqrt(users of one * users of the other) + shrink).

    Args:
      owned: [U, N+2] of 0 and 1.
      neighbours: entries kept per row: the largest, ties by lower index.
      shrink: holds back pairs that rest on few users.

    Returns:
      [N+2, N+2] float32, row = item owned, column = item scored, zero diagonal.
    """
    by_item = owned.T.tocsr()
    root = np.sqrt(np.asarray(owned.sum(axis=0), np.float32).ravel())  # [N+2]
    blocks = []
    for start, stop in _blocks(owned, by_item):
        block = (by_item[start:stop] @ owned).tocsr()  # [b, N+2] users in common
        row = np.repeat(np.arange(start, stop), np.diff(block.indptr))
        block.data /= root[row] * root[block.indices] + shrink
        block.data[row == block.indices] = 0
        blocks.append(_keep_largest(block, neighbours))
    return sparse.vstack(blocks, format="csr")


def _blocks(owned: sparse.csr_matrix, by_item: sparse.csr_matrix) -> list[tuple[int, int]]:
    """Row ranges of the similarity whose products fit into `BLOCK_PRODUCTS`."""
    products = by_item @ np.diff(owned.indptr).astype(np.float64)  # [N+2] products of each row
    group = (np.cumsum(products) // BLOCK_PRODUCTS).astype(np.int64)
    edges = [0, *(np.flatnonzero(np.diff(group)) + 1), len(group)]
    return list(pairwise(edges))


def _keep_largest(block: sparse.csr_matrix, neighbours: int) -> sparse.csr_matrix:
    """The largest entries of each row, ties by lower column; zeros go too."""
    kept = [np.zeros(0, np.int64)]
    for start, stop in pairwise(block.indptr):
        values, place = block.data[start:stop], np.arange(start, stop)
        if len(values) > neighbours:
            threshold = np.partition(values, -neighbours)[-neighbours]
            above, level = place[values > threshold], place[values == threshold]
            level = level[np.argsort(block.indices[level])]
            place = np.concatenate([above, level[: neighbours - len(above)]])
        kept.append(place)
    indptr, place = np.cumsum([len(places) for places in kept]), np.concatenate(kept)
    largest = sparse.csr_matrix((block.data[place], block.indices[place], indptr), shape=block.shape)
    largest.eliminate_zeros()
    largest.sort_indices()
    return largest
