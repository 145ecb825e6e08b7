"""The protocol: every model, baseline and system is a `Scorer`, ranked against all items and judged by one function."""

from collections.abc import Callable, Mapping

import numpy as np

from tfrec_llm import metrics
from tfrec_llm.data.shown import answerable, shown_items
from tfrec_llm.types import PADDING, Dataset, Queries

Scorer = Callable[[np.ndarray], np.ndarray]  # rows of the queries [b] -> scores of all items [b, N+2]


def top_items(scorer: Scorer, dataset: Dataset, queries: Queries, k: int, batch_size: int = 256) -> np.ndarray:
    """Ranks all items for every query.

    Padding, unknown and what may not be shown are never candidates; where the domain does not repeat, neither is what
    the user already has.
    Equal scores are ordered by item index, so that the answer depends on neither batch nor machine. A score of -inf
    means "no candidate".

    Args:
      scorer: rows [b] of `queries` -> [b, N+2] scores, higher is better.
      dataset: its interactions, catalogue and domain.
      queries: R of them.
      k: length of the lists.
      batch_size: queries scored at a time.

    Returns:
      [R, k] int32 item indices, best first, 0 where no candidate is left.

    Raises:
      ValueError: the scorer gives another shape, or nan.
    """
    num_rows, num_queries = len(dataset.catalogue.item_ids), len(queries.user)
    shown = shown_items(dataset.catalogue, dataset.domain)
    top = np.full((num_queries, k), PADDING, np.int32)
    for start in range(0, num_queries, batch_size):
        rows = np.arange(start, min(start + batch_size, num_queries))
        scores = np.array(scorer(rows), dtype=np.float32)
        if scores.shape != (len(rows), num_rows) or np.isnan(scores).any():
            raise ValueError(
                f"expected scores [{len(rows)}, {num_rows}] without nan, got {scores.shape} with "
                f"{int(np.isnan(scores).sum())} nan; a scorer takes rows and gives one score per item index."
            )
        scores[~answerable(dataset, queries, rows, shown)] = -np.inf
        top[rows] = best(scores, k)
    return top


def best(scores: np.ndarray, k: int) -> np.ndarray:
    """The k best columns of each row, equal scores by lower column.

    Args:
      scores: [b, N+2] without nan; -inf is never chosen.
      k: how many.

    Returns:
      [b, k] int32 columns, best first, 0 where fewer than k are above -inf.
    """
    width = min(k, scores.shape[1])
    threshold = -np.partition(-scores, width - 1, axis=1)[:, width - 1 : width]  # [b, 1] the score in place k
    above, level = scores > threshold, scores == threshold
    missing = width - above.sum(axis=1, keepdims=True)  # [b, 1] places left for those at the threshold
    taken = above | (level & (np.cumsum(level, axis=1) <= missing))
    columns = np.nonzero(taken)[1].reshape(len(scores), width)  # ascending, so that a stable sort keeps ties in order
    values = np.take_along_axis(scores, columns, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    chosen = np.where(np.isneginf(values), PADDING, columns)
    top = np.full((len(scores), k), PADDING, np.int32)
    top[:, :width] = np.take_along_axis(chosen, order, axis=1)
    return top


def judge(top: np.ndarray, queries: Queries, k: int = 10, recall_at: int = 100) -> Mapping[str, np.ndarray]:
    """Compares rankings with what happened.

    Args:
      top: [R, at least max(k, recall_at)] item indices, best first.
      queries: R of them.
      k: cut-off of hit rate, NDCG and MRR.
      recall_at: cut-off of recall.

    Returns:
      Name of the metric, e.g. "ndcg@10", -> [R] values.
    """
    answers = (queries.relevant, queries.offsets)
    return {
        f"hr@{k}": metrics.hit_rate(top, *answers, k),
        f"ndcg@{k}": metrics.ndcg(top, *answers, k),
        f"mrr@{k}": metrics.mrr(top, *answers, k),
        f"recall@{recall_at}": metrics.recall(top, *answers, recall_at),
    }


def select(queries: Queries, rows: np.ndarray, keep: np.ndarray | None = None) -> Queries:
    """Some of the queries, or some of their answers.

    Args:
      queries: R of them.
      rows: [R] bool, or [r] row numbers.
      keep: [N+2] bool: only these items count as relevant; None keeps all.

    Returns:
      The chosen queries, in the order of `rows`.
    """
    rows = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else np.asarray(rows)
    length = np.diff(queries.offsets)[rows]
    within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    relevant = queries.relevant[np.repeat(queries.offsets[rows], length) + within]
    if keep is not None:
        owner = np.repeat(np.arange(len(rows)), length)[keep[relevant]]
        length, relevant = np.bincount(owner, minlength=len(rows)), relevant[keep[relevant]]
    offsets = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    return Queries(queries.user[rows], queries.begin[rows], queries.end[rows], queries.time[rows], relevant, offsets)
