"""Rankings -> entries of metrics.json: every metric of the protocol with its interval, whole and by segment."""

from collections.abc import Mapping

import numpy as np

from tfrec_llm import metrics
from tfrec_llm.config import Evaluate
from tfrec_llm.evaluation.intervals import summarise, summarise_all
from tfrec_llm.evaluation.protocol import judge
from tfrec_llm.evaluation.report import Entry, entry
from tfrec_llm.evaluation.segments import segments
from tfrec_llm.evaluation.shown import ItemFacts, item_facts, judge_lists
from tfrec_llm.types import FIRST_ITEM, Dataset, Queries


def figures(
    stage: str,
    top: np.ndarray,
    dataset: Dataset,
    queries: Queries,
    settings: Evaluate,
    seed: int,
    facts: ItemFacts | None = None,
) -> dict[str, Entry]:
    """Judges rankings and summarises them.

    Args:
      stage: what the keys begin with, e.g. "behaviour" or "baseline.ease".
      top: [R, at least max(k, recall_at)] item indices, best first, from `top_items`.
      dataset: its interactions and catalogue.
      queries: R of them.
      settings: cut-offs, resamples and the split that `queries` are of.
      seed: of the intervals.
      facts: of `item_facts`; None looks them up, without text vectors.

    Returns:
      Key, e.g. "behaviour.ndcg@10" or "behaviour.ndcg@10|tail" -> entry. Metrics of the lists alone are there for all
      queries and for segments by history; coverage and Gini's index, which grow with the number of lists, for all.
    """
    k, num_items = settings.k, len(dataset.catalogue.item_ids) - FIRST_ITEM
    lists = judge_lists(top, item_facts(dataset) if facts is None else facts, k)
    values = {"": {**judge(top, queries, k, settings.recall_at), **lists}}
    for name, segment in segments(dataset, queries).items():
        own = {metric: column[segment.rows] for metric, column in lists.items()} if segment.whole else {}
        values[f"|{name}"] = {**judge(top[segment.rows], segment.queries, k, settings.recall_at), **own}
    found = {}
    for suffix, columns in values.items():
        found |= {f"{stage}.{key}{suffix}": value for key, value in _summaries(columns, settings, seed).items()}
    for metric in (metrics.coverage, metrics.gini):
        value = metric(top[:, :k], num_items)
        if np.isfinite(value):
            found[f"{stage}.{metric.__name__}@{k}"] = entry(value, len(top), settings.split)
    return found


def _summaries(columns: Mapping[str, np.ndarray], settings: Evaluate, seed: int) -> dict[str, Entry]:
    """Name of a metric -> entry; means are over the queries where it is defined."""
    whole = {name: column for name, column in columns.items() if np.isfinite(column).all()}
    summary = summarise_all(whole, settings.bootstrap, seed)
    for name, column in columns.items():
        known = column[np.isfinite(column)]
        if name not in whole and len(known):
            summary[name] = summarise(known, settings.bootstrap, seed)
    return {name: entry(figure.value, figure.n, settings.split, figure.ci95) for name, figure in summary.items()}
