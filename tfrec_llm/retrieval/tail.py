"""Neighbours of the items that are too many for one closed form: each is regressed on those that the form has.

With P = (X'X + l2 I)^-1 over the kept items K, what the closed form would say of one more item j needs no other
inverse: its column is P X_K'x_j, and 1 / P_jj of the larger matrix is the Schur complement s_j, which gives its row.
Of two such items the common users count as far as the kept ones explain neither, which is estimated from what they
explain of each. So of one item more this is exact, and of many nearly so: they are the rarest. Used by `item_item`.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

CHUNK = 512  # items of the tail
DENSE = 0.05  # share of pairs with common users above which a product of whole matrices is faster


class Form(NamedTuple):
    """A closed form over the kept items, as of `incidence.ease_weights`."""

    kept: np.ndarray  # [K] item indices
    weights: np.ndarray  # [K, K]
    l2: float


class Strongest(NamedTuple):
    """The strongest neighbours of every item; written to in place."""

    item_ids: np.ndarray  # [N+2, M] int32
    weights: np.ndarray  # [N+2, M] float32, 0 where there are fewer

    def merge(self, rows: np.ndarray, item_ids: np.ndarray, weights: np.ndarray) -> None:
        """Takes over what is stronger than what is there.

        Args:
          rows: [r] item indices whose neighbours these are.
          item_ids: [c] item indices of the neighbours.
          weights: [r, c]; only those above zero count.
        """
        better = np.flatnonzero((weights > self.weights[rows].min(axis=1, keepdims=True)).any(axis=1))
        rows, count = rows[better], self.weights.shape[1]
        every = np.concatenate([self.weights[rows], np.maximum(weights[better], 0)], axis=1)
        ids = np.concatenate([self.item_ids[rows], np.broadcast_to(item_ids, [len(rows), len(item_ids)])], axis=1)
        best = np.argpartition(-every, count - 1, axis=1)[:, :count]
        self.weights[rows] = np.take_along_axis(every, best, axis=1)
        self.item_ids[rows] = np.where(self.weights[rows] > 0, np.take_along_axis(ids, best, axis=1), 0)


def add_tail(found: Strongest, owned: sparse.csr_matrix, form: Form, tail: np.ndarray) -> None:
    """Gives more items neighbours, and lets them be some.

    Args:
      found: neighbours of the kept items.
      owned: X [U, N+2] of 0 and 1.
      form: over the kept items.
      tail: [T] item indices, none of them kept.
    """
    kept = owned[:, form.kept]
    diagonal = _inverse_diagonal(kept, form)
    by_item, rare = owned[:, tail].T.tocsr(), owned[:, tail].tocsr()
    complement, unexplained = np.zeros((2, len(tail)), np.float32)
    for start in range(0, len(tail), CHUNK):
        some = slice(start, start + CHUNK)
        common = by_item[some] @ kept  # [c, K] users who have both
        left = common.toarray()
        left -= (left if common.nnz > DENSE * left.size else common) @ form.weights  # what no other kept item explains
        explained = np.asarray(common.multiply(left * diagonal).sum(axis=1)).ravel()
        users = by_item.indptr[1:][some] - by_item.indptr[:-1][some]
        complement[some] = np.maximum(users + form.l2 - explained, form.l2)
        unexplained[some] = np.sqrt((complement[some] - form.l2) / np.maximum(users, 1))  # root of a share of the users
        found.merge(form.kept, tail[some], (left * diagonal).T)
        found.merge(tail[some], form.kept, left / (complement[some, None] + left**2 * diagonal))
    for start in range(0, len(tail), CHUNK):
        some = np.arange(start, min(start + CHUNK, len(tail)))
        both = (by_item[some] @ rare).toarray() * unexplained  # [c, T]
        both *= (unexplained[some] / complement[some])[:, None]
        both[np.arange(len(some)), some] = 0
        near = np.flatnonzero(both.any(axis=0))
        found.merge(tail[some], tail[near], both[:, near])


def _inverse_diagonal(kept: sparse.csr_matrix, form: Form) -> np.ndarray:
    """[K] the diagonal of P: P_jj (G_jj + l2 - sum over k of G_jk B_kj) = 1, with G = X'X."""
    by_item = kept.T.tocsr()
    diagonal = np.empty(len(form.kept), np.float32)
    for start in range(0, len(diagonal), CHUNK):
        some = slice(start, start + CHUNK)
        common = by_item[some] @ kept  # [c, K]
        explained = np.asarray(common.multiply(form.weights[:, some].T).sum(axis=1)).ravel()
        users = by_item.indptr[1:][some] - by_item.indptr[:-1][some]
        diagonal[some] = 1 / (users + form.l2 - explained)
    return diagonal
