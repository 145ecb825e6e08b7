"""Ranking, classification and calibration metrics: pure functions on arrays, used by every stage that is judged.

A ranking is `top` [R, k]: item indices, best first, 0 where the list is shorter. What was right is ragged: query r is
answered by `relevant[offsets[r]:offsets[r + 1]]`, as in `types.Queries`. Ranking metrics give one value per query; the
caller takes means and intervals. An item named twice in a list counts where it first stands; a query without relevant
items scores 0.
"""

import numpy as np

from tfrec_llm.types import PADDING


def match(top: np.ndarray, relevant: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds the right answers in the rankings.

    Args:
      top: [R, k] item indices, best first, 0 is padding.
      relevant: [P] item indices, concatenated over queries.
      offsets: [R+1] query r is answered by relevant[offsets[r]:offsets[r+1]].

    Returns:
      hits [R, k] bool, and counts [R] of different relevant items.

    Raises:
      ValueError: the shapes do not fit each other.
    """
    top, relevant, offsets = np.asarray(top), np.asarray(relevant, np.int64), np.asarray(offsets, np.int64)
    if top.ndim != 2 or offsets.shape != (len(top) + 1,) or offsets[0] != 0 or offsets[-1] != len(relevant):
        raise ValueError(
            f"expected top [R, k], offsets [R+1] from 0 to {len(relevant)} (the length of relevant), got top "
            f"{top.shape} and offsets {offsets.shape} from {offsets[:1]} to {offsets[-1:]}; "
            "pass the rankings of all rows of one Queries."
        )
    width = int(max(top.max(initial=0), relevant.max(initial=0))) + 1
    query = np.repeat(np.arange(len(top)), np.diff(offsets))
    wanted = np.unique((query * width + relevant)[relevant != PADDING])
    shown = np.arange(len(top))[:, None] * width + top  # [R, k] one number per (query, item)
    first = np.zeros(shown.size, bool)
    first[np.unique(shown, return_index=True)[1]] = True
    hits = np.isin(shown, wanted) & first.reshape(shown.shape) & (top != PADDING)
    return hits, np.bincount(wanted // width, minlength=len(top))


def hit_rate(top: np.ndarray, relevant: np.ndarray, offsets: np.ndarray, k: int) -> np.ndarray:
    """1 where any relevant item is among the first k: [R]; arguments as in `match`."""
    hits, _ = match(top, relevant, offsets)
    return hits[:, :k].any(axis=1).astype(np.float64)


def recall(top: np.ndarray, relevant: np.ndarray, offsets: np.ndarray, k: int) -> np.ndarray:
    """Share of the relevant items that is among the first k: [R]; arguments as in `match`."""
    hits, counts = match(top, relevant, offsets)
    return hits[:, :k].sum(axis=1) / np.maximum(counts, 1)


def mrr(top: np.ndarray, relevant: np.ndarray, offsets: np.ndarray, k: int) -> np.ndarray:
    """One over the rank of the first relevant item, 0 where it is not among the first k: [R]; see `match`."""
    hits, _ = match(top, relevant, offsets)
    return (hits[:, :k] / np.arange(1, hits[:, :k].shape[1] + 1)).max(axis=1, initial=0.0)


def ndcg(top: np.ndarray, relevant: np.ndarray, offsets: np.ndarray, k: int) -> np.ndarray:
    """Normalised discounted cumulative gain with gains of 0 and 1: [R]; arguments as in `match`.

    The ideal list holds min(k, number of relevant items) hits (Järvelin and Kekäläinen, 2002).
    """
    hits, counts = match(top, relevant, offsets)
    discounts = 1.0 / np.log2(np.arange(2, k + 2))  # [k]
    ideal = np.concatenate([[0.0], np.cumsum(discounts)])[np.minimum(counts, k)]  # [R]
    gain = hits[:, :k] @ discounts[: hits.shape[1]]  # [R]
    return np.divide(gain, ideal, out=np.zeros(len(hits)), where=ideal > 0)
