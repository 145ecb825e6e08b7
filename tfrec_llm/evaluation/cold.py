"""Cold start: items that training never saw, ranked among themselves, and whether they reach anybody's list.

The protocol's other figures are then of the other items. Baselines that can rank an item without events stand beside:
`random`, and `text_knn`, plain and weighted by recency.
"""

from collections.abc import Mapping

import numpy as np

from tfrec_llm.config import Evaluate
from tfrec_llm.evaluation.intervals import summarise
from tfrec_llm.evaluation.protocol import Scorer, judge, top_items
from tfrec_llm.evaluation.report import Entry, entry
from tfrec_llm.types import Dataset, Queries

BASELINES = ("random", "text_knn", "text_knn_recency")


def cold_figures(
    scorers: Mapping[str, Scorer], dataset: Dataset, queries: Queries, settings: Evaluate, seed: int
) -> dict[str, Entry]:
    """Held-out items ranked among themselves, those that the user has had left out.

    Args:
      scorers: row -> scorer of these queries.
      dataset: with held-out items.
      queries: those that held-out items answer, `split.cold.validation` or `.test`.
      settings: cut-offs, resamples and the split that the queries are of.
      seed: of the intervals.

    Returns:
      `cold.<row>.<metric>` -> entry.
    """
    found, depth = {}, max(settings.k, settings.recall_at)
    for name, scorer in scorers.items():
        top = top_items(among(scorer, dataset.split.cold.items), dataset, queries, depth, settings.batch_size)
        for metric, values in judge(top, queries, settings.k, settings.recall_at).items():
            figure = summarise(values, settings.bootstrap, seed)
            found[f"cold.{name}.{metric}"] = entry(figure.value, figure.n, settings.split, figure.ci95)
    return found


def among(scorer: Scorer, items: np.ndarray) -> Scorer:
    """The same scores for some items, -inf for the others.

    Args:
      scorer: of any queries.
      items: [N+2] bool.
    """
    return lambda rows: np.where(items, scorer(rows), -np.inf)


def shares(tops: Mapping[str, np.ndarray], dataset: Dataset, settings: Evaluate, seed: int) -> dict[str, Entry]:
    """How much of everybody's list held-out items make up; `system`'s is `cold.share@100`.

    Args:
      tops: row -> [R, recall_at] item indices of the queries that the other items answer.
      dataset: with held-out items.
      settings: length of the list.
      seed: of the intervals.

    Returns:
      `cold.share@<n>` and `cold.<row>.share@<n>` -> entry.
    """
    held, found = dataset.split.cold.items, {}
    for name, top in tops.items():
        listed = top[:, : settings.recall_at]
        values = held[listed].sum(axis=1) / np.maximum((listed > 0).sum(axis=1), 1)
        figure = summarise(values, settings.bootstrap, seed)
        key = "cold.share" if name == "system" else f"cold.{name}.share"
        found[f"{key}@{settings.recall_at}"] = entry(figure.value, figure.n, settings.split, figure.ci95)
    return found
