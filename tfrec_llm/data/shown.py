"""Which items a question may be answered with: one rule for every model, baseline and judge."""

import numpy as np

from tfrec_llm.data.incidence import history_rows
from tfrec_llm.types import FIRST_ITEM, Catalogue, Dataset, Domain, Queries


def shown_items(catalogue: Catalogue, domain: Domain) -> np.ndarray:
    """Items that may be shown: available, and named by no line of the domain's deny-list.

    Args:
      catalogue: ids, attributes and availability.
      domain: its `deny` holds item ids and attribute=value lines.

    Returns:
      [N+2] bool, rows 0 and 1 False.
    """
    shown = np.array(catalogue.available, bool)
    shown[:FIRST_ITEM] = False
    shown &= ~np.isin(catalogue.item_ids, list(domain.deny))
    for line in domain.deny:
        name, equals, value = line.partition("=")
        if equals and name in catalogue.attributes:
            shown &= np.array([value not in values for values in catalogue.attributes[name]])
    return shown


def answerable(dataset: Dataset, queries: Queries, rows: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """What each question may be answered with: what is shown and, unless the domain repeats, new to the user.

    Args:
      dataset: its interactions and domain.
      queries: R of them.
      rows: [b] which ones.
      shown: [N+2] bool, as of `shown_items`.

    Returns:
      [b, N+2] bool; an item that the user has had is left out however long ago that was.
    """
    allowed = np.repeat(shown[np.newaxis], len(rows), axis=0)
    if not dataset.domain.repeat:
        query, event = history_rows(queries, rows)
        allowed[query, dataset.interactions.item[event]] = False
    return allowed
