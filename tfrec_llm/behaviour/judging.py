"""How well a behaviour model alone names the next items: what stops its training."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfrec_llm import metrics
from tfrec_llm.data.history import histories
from tfrec_llm.data.shown import answerable, shown_items
from tfrec_llm.types import Dataset, History, Queries

MAX_ROWS = 2048  # queries that a pass is judged on; more only cost time
BATCH = 256
CELLS = 64_000_000  # queries times items at once: a large catalogue is asked in smaller batches


def make_judge(model, dataset: Dataset, max_history: int) -> Callable[[], dict[str, float]]:
    """A function that judges the model as it stands on half A of the validation queries.

    Args:
      model: has `signals` and `item_table`.
      dataset: events and split.
      max_history: T.
    """
    rank, half_a = ranker(model), np.flatnonzero(~dataset.split.half_b)[:MAX_ROWS]
    return lambda: judge(rank, dataset, dataset.split.validation, half_a, max_history)


def ranker(model) -> Callable:
    """A graph from (history [B, T] each, its time of asking [B], excluded [B, N+2] bool) to the best [B, 100] items."""

    @tf.function(reduce_retracing=True)
    def rank(history: History, request_time: tf.Tensor, excluded: tf.Tensor) -> tf.Tensor:
        query = model.signals(history, request_time).query
        logits = tf.matmul(query, model.item_table(), transpose_b=True)  # [B, N+2]
        logits = tf.where(excluded, logits.dtype.min, logits)
        return tf.math.top_k(logits, min(100, logits.shape[1])).indices

    return rank


def judge(rank: Callable, dataset: Dataset, queries: Queries, rows: np.ndarray, max_history: int) -> dict[str, float]:
    """Mean figures over some queries, all items ranked that may be shown, but for those that the user has had.

    Args:
      rank: from `ranker`.
      dataset: events, catalogue and domain.
      queries: the questions.
      rows: [R] which of them.
      max_history: T.

    Returns:
      ndcg@10, hr@10 and recall@100.

    Raises:
      ValueError: there is no query to judge by.
    """
    if not len(rows):
        raise ValueError("expected validation queries of half A, got none: the data has too few users.")
    rows = rows[np.argsort(queries.end[rows] - queries.begin[rows], kind="stable")]
    size = max(1, min(BATCH, CELLS // len(dataset.catalogue.item_ids)))
    starts = range(0, len(rows), size)
    top = np.concatenate([_top(rank, dataset, queries, rows[i : i + size], max_history) for i in starts])
    relevant = [queries.relevant[queries.offsets[r] : queries.offsets[r + 1]] for r in rows]
    offsets = np.cumsum([0, *map(len, relevant)])
    answers = (top, np.concatenate(relevant), offsets)
    return {
        "ndcg@10": float(metrics.ndcg(*answers, 10).mean()),
        "hr@10": float(metrics.hit_rate(*answers, 10).mean()),
        "recall@100": float(metrics.recall(*answers, 100).mean()),
    }


def _top(rank, dataset, queries, rows, max_history):
    longest = int((queries.end[rows] - queries.begin[rows]).max(initial=1))
    history = histories(dataset.interactions, queries, rows, max(1, min(longest, max_history)))
    allowed = answerable(dataset, queries, rows, shown_items(dataset.catalogue, dataset.domain))
    return rank(History(*map(tf.constant, history)), tf.constant(queries.time[rows], tf.int64), ~allowed).numpy()
