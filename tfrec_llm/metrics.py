"""Ranking, classification and calibration metrics: pure functions on arrays, used by every stage that is judged.

A ranking is `top` [R, k]: item indices, best first, 0 where the list is shorter. What was right is ragged: query r is
answered by `relevant[offsets[r]:offsets[r + 1]]`, as in `types.Queries`. Ranking metrics give one value per query; the
caller takes means and intervals. An item named twice in a list counts where it first stands; a query without relevant
items scores 0. List metrics look at what is shown alone, right or not; padding and the unknown item are not shown.
"""

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from tfrec_llm.types import FIRST_ITEM, PADDING

BLOCK_LISTS = 1024  # lists whose sums of vectors are held at a time


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
    hits, _ = match(np.asarray(top)[..., :k], relevant, offsets)
    return hits.any(axis=1).astype(np.float64)


def recall(top: np.ndarray, relevant: np.ndarray, offsets: np.ndarray, k: int) -> np.ndarray:
    """Share of the relevant items that is among the first k: [R]; arguments as in `match`."""
    hits, counts = match(np.asarray(top)[..., :k], relevant, offsets)
    return hits.sum(axis=1) / np.maximum(counts, 1)


def mrr(top: np.ndarray, relevant: np.ndarray, offsets: np.ndarray, k: int) -> np.ndarray:
    """One over the rank of the first relevant item, 0 where it is not among the first k: [R]; see `match`."""
    hits, _ = match(np.asarray(top)[..., :k], relevant, offsets)
    return (hits / np.arange(1, hits.shape[1] + 1)).max(axis=1, initial=0.0)


def ndcg(top: np.ndarray, relevant: np.ndarray, offsets: np.ndarray, k: int) -> np.ndarray:
    """Normalised discounted cumulative gain with gains of 0 and 1: [R]; arguments as in `match`.

    The ideal list holds min(k, number of relevant items) hits (Järvelin and Kekäläinen, 2002).
    """
    hits, counts = match(np.asarray(top)[..., :k], relevant, offsets)
    discounts = 1.0 / np.log2(np.arange(2, k + 2))  # [k]
    ideal = np.concatenate([[0.0], np.cumsum(discounts)])[np.minimum(counts, k)]  # [R]
    gain = hits @ discounts[: hits.shape[1]]  # [R]
    return np.divide(gain, ideal, out=np.zeros(len(hits)), where=ideal > 0)


def coverage(top: np.ndarray, num_items: int) -> float:
    """Share of the catalogue that is shown to anybody.

    Args:
      top: [R, k] item indices, 0 is padding and 1 unknown: neither counts.
      num_items: N, size of the catalogue without those two rows.
    """
    return len(np.unique(top[top >= FIRST_ITEM])) / _positive("num_items", num_items)


def gini(top: np.ndarray, num_items: int) -> float:
    """How unevenly the catalogue is shown: Gini's index of how often each item is (Adomavicius and Kwon, 2012).

    Args:
      top: [R, k] item indices.
      num_items: N, size of the catalogue without the rows of padding and unknown.

    Returns:
      0 where all items are shown equally often, 1 - 1/N where one item is all that is shown, nan where nothing is.
    """
    shown = np.asarray(top)[np.asarray(top) >= FIRST_ITEM]
    counts = np.sort(np.bincount(shown - FIRST_ITEM, minlength=_positive("num_items", num_items)))
    rank = np.arange(1, num_items + 1)
    return float((2 * rank - num_items - 1) @ counts / (num_items * counts.sum())) if len(shown) else np.nan


def novelty(top: np.ndarray, counts: np.ndarray, k: int) -> np.ndarray:
    """Mean self-information of the first k, -log2 of an item's share of the training events (Zhou et al., 2010).

    Args:
      top: [R, at least k] item indices, best first.
      counts: [N+2] training events of each item; an item without any counts as one with one.
      k: cut-off.

    Returns:
      [R] bits, nan where a list is empty.
    """
    counts = np.asarray(counts, np.float64)
    return _list_mean(top, np.log2(max(counts.sum(), 1.0)) - np.log2(np.maximum(counts, 1.0)), k)


def popularity_share(top: np.ndarray, popular: np.ndarray, k: int) -> np.ndarray:
    """Share of the first k that is popular: [R], nan where a list is empty; `popular` is [N+2] bool."""
    return _list_mean(top, np.asarray(popular, np.float64), k)


def diversity(top: np.ndarray, vectors: np.ndarray | sparse.csr_matrix, k: int) -> np.ndarray:
    """Mean over the pairs of the first k of 1 - the cosine of their vectors (intra-list; Ziegler et al., 2005).

    Args:
      top: [R, at least k] item indices, best first.
      vectors: [N+2, D] of any length, dense or sparse; an item whose vector is zero is in no pair.
      k: cut-off.

    Returns:
      [R], nan where a list has no pair.
    """
    top = np.asarray(top)[:, :k]
    items, place = np.unique(top, return_inverse=True)
    some = vectors[items]
    length = linalg.norm(some, axis=1) if sparse.issparse(some) else np.linalg.norm(some, axis=1)
    known = (length > 0) & (items >= FIRST_ITEM)
    unit = sparse.diags(np.divide(1.0, length, out=np.zeros(len(items)), where=known)) @ some  # zero where unknown
    shown = known[place.reshape(top.shape)]
    begin = np.arange(len(top) + 1) * top.shape[1]
    lists = sparse.csr_matrix((shown.ravel() * 1.0, place.ravel(), begin), shape=(len(top), len(items)))
    # the square of a sum of n unit vectors is n + twice the cosines of all pairs
    squares = np.zeros(len(top))
    for start in range(0, len(top), BLOCK_LISTS):
        total = lists[start : start + BLOCK_LISTS] @ unit  # [b, D]
        total = total.toarray() if sparse.issparse(total) else total
        squares[start : start + BLOCK_LISTS] = np.einsum("bd,bd->b", total, total)
    count = shown.sum(axis=1)
    cosine = np.divide(squares - count, count * (count - 1), out=np.full(len(top), np.nan), where=count > 1)
    return np.clip(1 - cosine, 0, 2)


def accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Share of rows where prediction and label agree; both [R]."""
    labels, predictions = _pair(labels, predictions, 1)
    return float(np.mean(labels == predictions))


def macro_f1(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Mean F1 over the classes that occur among labels or predictions; both [R] integers.

    Two boolean arrays [R, classes] are multi-label: the mean is over the columns that are ever true in either.
    """
    labels, predictions = _one_hot(labels, predictions)
    f1 = _f1(*_counts(labels, predictions))
    return float(np.mean(f1[(labels | predictions).any(axis=0)])) if (labels | predictions).any() else 0.0


def micro_f1(labels: np.ndarray, predictions: np.ndarray) -> float:
    """F1 over all decisions together; both [R, classes] bool, or [R] integers (where it is the accuracy)."""
    labels, predictions = _one_hot(labels, predictions)
    return float(_f1(*(count.sum(keepdims=True) for count in _counts(labels, predictions)))[0])


def expected_calibration_error(correct: np.ndarray, confidence: np.ndarray, bins: int = 15) -> float:
    """How far stated probabilities are from what happens, in probability (Naeini et al., 2015).

    Args:
      correct: [R] bool: it happened, or the prediction was right.
      confidence: [R] probability that was stated for it.
      bins: number of equally wide bins over [0, 1].

    Returns:
      Mean over rows of |share correct - mean confidence| of the row's bin.

    Raises:
      ValueError: shapes differ, no rows, or a confidence outside [0, 1].
    """
    correct, confidence = _pair(correct, confidence, 1)
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError("expected confidences in [0, 1], got values outside; pass probabilities, not logits.")
    place = np.minimum((confidence * _positive("bins", bins)).astype(int), bins - 1)
    gap = np.bincount(place, correct, bins) - np.bincount(place, confidence, bins)  # [bins] sums of differences
    return float(np.abs(gap).sum() / len(correct))


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Probability that a positive row scores above a negative one, ties count half (Hanley and McNeil, 1982).

    Args:
      labels: [R] bool.
      scores: [R] higher means more likely positive.

    Raises:
      ValueError: shapes differ, a score is nan, or only one of the two classes is there.
    """
    labels, scores = _pair(labels, scores, 1)
    labels = labels.astype(bool)
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if not positives or not negatives or np.isnan(scores).any():
        raise ValueError(
            f"expected positive and negative rows with scores that are no nan, got {positives} and {negatives}, "
            f"{np.isnan(scores).sum()} nan; the AUROC is not defined there, leave it out."
        )
    _, place, size = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(size) - (size - 1) / 2)[place]  # [R] from 1, the mean over ties
    return float((rank[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _list_mean(top: np.ndarray, values: np.ndarray, k: int) -> np.ndarray:
    """Mean of values [N+2] over the items among the first k: [R], nan where there is none."""
    top = np.asarray(top)[:, :k]
    shown = top >= FIRST_ITEM
    count = shown.sum(axis=1)
    return np.divide((values[top] * shown).sum(axis=1), count, out=np.full(len(top), np.nan), where=count > 0)


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"expected {name} of at least 1, got {value}.")
    return value


def _pair(labels: np.ndarray, predictions: np.ndarray, *dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape or labels.ndim not in dimensions or not len(labels):
        raise ValueError(
            f"expected two arrays of one shape with {' or '.join(map(str, dimensions))} dimensions and at least one "
            f"row, got {labels.shape} and {predictions.shape}; without rows the metric is not defined, leave it out."
        )
    return labels, predictions


def _one_hot(labels: np.ndarray, predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as [R, classes] bool."""
    labels, predictions = _pair(labels, predictions, 1, 2)
    if labels.ndim == 2:
        return labels.astype(bool), predictions.astype(bool)
    classes = np.union1d(labels, predictions)
    return labels[:, None] == classes, predictions[:, None] == classes


def _counts(labels: np.ndarray, predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(true positives, false positives + false negatives), each [classes]."""
    return (labels & predictions).sum(axis=0), (labels ^ predictions).sum(axis=0)


def _f1(hit: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """[classes] F1 = 2 TP / (2 TP + FP + FN), 0 where nothing was labelled or predicted."""
    return np.divide(2.0 * hit, 2 * hit + wrong, out=np.zeros(hit.shape), where=2 * hit + wrong > 0)
