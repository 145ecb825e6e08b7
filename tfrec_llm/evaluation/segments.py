"""Parts of the queries, judged by themselves: a good mean can hide that some users or items are served badly."""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tfrec_llm.data.incidence import training_counts
from tfrec_llm.evaluation.protocol import select
from tfrec_llm.types import FIRST_ITEM, Dataset, Queries

HEAD_SHARE = 0.2  # the most popular fifth of the items is the head
HISTORIES = (0, 5, 20, 100)  # shortest history of each segment, in events


class Segment(NamedTuple):
    """Some queries, with only those answers that belong to the segment."""

    rows: np.ndarray  # [r] rows of all queries
    queries: Queries  # r of them
    whole: bool  # chosen by the query, with all its answers; False: by the answers


def segments(dataset: Dataset, queries: Queries) -> Mapping[str, Segment]:
    """Cuts the queries by length of history and their answers by popularity in training.

    `short` and `long` are the quarters of the queries with the shortest and the longest histories; `history_0_4` (new
    users), `history_5_19`, `history_20_99` and `history_100_up` count the same events on every data set. `head` is the
    most popular fifth of the items, `tail` the rest, and `cold` those that training never saw. A query is in an item
    segment with the answers that are in it; rankings stay rankings of all items.

    Args:
      dataset: its interactions and catalogue.
      queries: R of them.

    Returns:
      Name -> segment; one that no query is in is absent.
    """
    length = queries.end - queries.begin
    low, high = np.percentile(length, [25, 75]) if len(length) else (0, 0)
    by_query = {"short": length <= low, "long": length >= high}
    for least, above in pairwise((*HISTORIES, np.inf)):
        name = f"history_{least}_{'up' if np.isinf(above) else above - 1}"
        by_query[name] = (length >= least) & (length < above)
    head, counts = popular_items(dataset), training_counts(dataset)
    by_item = {"head": head, "tail": ~head, "cold": counts == 0}
    found = {name: Segment(np.flatnonzero(rows), select(queries, rows), True) for name, rows in by_query.items()}
    for name, items in by_item.items():
        owner = np.repeat(np.arange(len(length)), np.diff(queries.offsets))
        rows = np.unique(owner[items[queries.relevant]])
        found[name] = Segment(rows, select(queries, rows, keep=items), False)
    return {name: segment for name, segment in found.items() if len(segment.rows)}


def popular_items(dataset: Dataset) -> np.ndarray:
    """[N+2] bool: the most popular fifth of the items by training events, ties by lower index."""
    counts = training_counts(dataset)
    num_items = len(counts) - FIRST_ITEM
    order = np.argsort(-counts[FIRST_ITEM:], kind="stable") + FIRST_ITEM
    head = np.zeros(len(counts), bool)
    head[order[: max(1, round(HEAD_SHARE * num_items))]] = True
    return head
