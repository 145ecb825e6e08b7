"""What lists are made of, right or not: how novel, how varied, how popular the shown items are."""

import logging
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import sparse

from tfrec_llm import metrics
from tfrec_llm.data.incidence import training_counts
from tfrec_llm.evaluation.segments import popular_items
from tfrec_llm.types import FIRST_ITEM, Catalogue, Dataset

log = logging.getLogger(__name__)


class ItemFacts(NamedTuple):
    """What the metrics of lists ask about items, and the text vectors that they may go by."""

    counts: np.ndarray  # [N+2] training events
    popular: np.ndarray  # [N+2] bool: the head fifth
    vectors: np.ndarray | sparse.csr_matrix | None  # [N+2, D], zero where unknown; None where no two are known
    diversity_by: str  # "text", "attributes", or "" where there are no vectors
    text: np.ndarray | None  # [N+2, D] as given


def item_facts(dataset: Dataset, text: np.ndarray | None = None) -> ItemFacts:
    """Looks the items up: their popularity in training, and vectors for diversity.

    Args:
      dataset: its training events and catalogue.
      text: [N+2, D] text vectors, zero where an item has no text; None where the text stage has not run. Without any,
        the vectors are made of the catalogue's attributes, one column for each value.
    """
    vectors, by = text, "text"
    if not _some(vectors):
        vectors, by = attribute_vectors(dataset.catalogue), "attributes"
    if not _some(vectors):
        log.info("diversity is absent: the catalogue has neither texts nor attributes.")
        vectors, by = None, ""
    return ItemFacts(training_counts(dataset), popular_items(dataset), vectors, by, text)


def attribute_vectors(catalogue: Catalogue) -> sparse.csr_matrix:
    """[N+2, different values] 1 where the item has the value of an attribute, e.g. a category."""
    columns: dict[tuple[str, str], int] = {}
    place = [
        (row, columns.setdefault((name, value), len(columns)))
        for name, values in catalogue.attributes.items()
        for row, own in enumerate(values[FIRST_ITEM:], start=FIRST_ITEM)
        for value in dict.fromkeys(own)
    ]
    row, column = np.array(place, np.int64).reshape(-1, 2).T
    shape = (len(catalogue.item_ids), max(1, len(columns)))
    return sparse.csr_matrix((np.ones(len(row), np.float32), (row, column)), shape=shape)


def judge_lists(top: np.ndarray, facts: ItemFacts, k: int) -> Mapping[str, np.ndarray]:
    """Metrics of the lists alone.

    Args:
      top: [R, at least k] item indices, best first.
      facts: of `item_facts`.
      k: cut-off.

    Returns:
      Name of the metric, e.g. "novelty@10", -> [R] values, nan where the list is too short for it.
    """
    found = {
        f"novelty@{k}": metrics.novelty(top, facts.counts, k),
        f"popularity_share@{k}": metrics.popularity_share(top, facts.popular, k),
    }
    if facts.vectors is not None:
        found[f"diversity@{k}"] = metrics.diversity(top, facts.vectors, k)
    return found


def _some(vectors: np.ndarray | sparse.csr_matrix | None) -> bool:
    """Whether two items or more have a vector."""
    if vectors is None:
        return False
    known = np.diff(vectors.indptr) if sparse.issparse(vectors) else np.any(vectors, axis=1)
    return np.count_nonzero(known) > 1
