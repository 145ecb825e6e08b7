"""Users by an attribute: how well each group is served, and how far the best served is ahead of the worst."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from tfrec_llm.config import Evaluate
from tfrec_llm.evaluation.intervals import summarise
from tfrec_llm.evaluation.protocol import judge
from tfrec_llm.evaluation.report import Entry, entry
from tfrec_llm.types import Queries

LEAST = 20  # queries of a group whose mean is worth comparing
_NORMAL = 1.96  # half of a 95 % interval, in standard errors


def group_figures(
    stage: str,
    top: np.ndarray,
    queries: Queries,
    people: np.ndarray,
    names: Sequence[str],
    settings: Evaluate,
    seed: int,
) -> dict[str, Entry]:
    """NDCG of each group of users, and the gap between groups.

    Args:
      stage: what the keys begin with, e.g. "system".
      top: [R, at least max(k, recall_at)] item indices, best first.
      queries: R of them.
      people: [U, A] str attributes of users, "" where unknown.
      names: A attributes.
      settings: cut-offs, resamples and the split that `queries` are of.
      seed: of the intervals.

    Returns:
      `<stage>.ndcg@10|<attribute>_<value>` of groups with enough queries, and where an attribute has two of them
      `<stage>.gap_by_<attribute>.ndcg@10`, the best group's mean less the worst's, with its interval.
    """
    key = f"ndcg@{settings.k}"
    ndcg, found = judge(top, queries, settings.k, settings.recall_at)[key], {}
    for name, column in zip(names, people[queries.user].T, strict=True):
        groups = {str(v): ndcg[column == v] for v in np.unique(column) if v and (column == v).sum() >= LEAST}
        for value, values in groups.items():
            figure = summarise(values, settings.bootstrap, seed)
            found[f"{stage}.{key}|{_word(name)}_{_word(value)}"] = entry(
                figure.value, figure.n, settings.split, figure.ci95
            )
        if len(groups) > 1:
            found[f"{stage}.gap_by_{_word(name)}.{key}"] = _gap(groups, settings.split)
    return found


def _gap(groups: Mapping[str, np.ndarray], split: str) -> Entry:
    ordered = sorted(groups.values(), key=lambda values: values.mean())
    worst, best = ordered[0], ordered[-1]
    half = _NORMAL * float(np.sqrt(sum(part.var(ddof=1) / len(part) for part in (worst, best))))
    gap = float(best.mean() - worst.mean())
    return entry(gap, len(best) + len(worst), split, (gap - half, gap + half))


def _word(text: str) -> str:
    """A name as a key may have it."""
    return re.sub(r"[^\w+-]+", "_", text).strip("_") or "_"
