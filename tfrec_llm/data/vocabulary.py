"""Ids -> indices: the interactions and the catalogue that every later stage reads.

Items and users are ordered by id, so that an index says nothing about what happened later.
"""

import logging

import numpy as np
import pandas as pd

from tfrec_llm.data.raw import ITEM_COLUMNS
from tfrec_llm.data.texts import LONGEST
from tfrec_llm.types import FIRST_ITEM, UNKNOWN, Catalogue, Domain, Interactions

log = logging.getLogger(__name__)

UNKNOWN_ID = "[unknown]"


def index_interactions(
    events: pd.DataFrame, item_ids: np.ndarray, domain: Domain, tie_breaker: np.random.Generator | None = None
) -> Interactions:
    """Events by user, then time; items outside the vocabulary become UNKNOWN.

    Args:
      events: see `raw.RawData.interactions`.
      item_ids: [N] the vocabulary, sorted.
      domain: its event types; others become UNKNOWN and are logged.
      tie_breaker: orders events of one user and second; None keeps the file's order.
    """
    user, user_ids = _codes_by_id(events["user_id"])
    item = pd.Index(item_ids).get_indexer(events["item_id"]) + FIRST_ITEM
    item[item < FIRST_ITEM] = UNKNOWN
    time = events["timestamp"].to_numpy(np.int64)
    tie = tie_breaker.random(len(events)) if tie_breaker else np.arange(len(events))
    order = np.lexsort((tie, time, user))
    return Interactions(
        user=user[order].astype(np.int32),
        item=item[order].astype(np.int32),
        time=time[order],
        event=_event_indices(events["event"], domain)[order],
        value=events["value"].to_numpy(np.float32)[order],
        user_ids=user_ids,
    )


def keep_rows(interactions: Interactions, kept: np.ndarray) -> Interactions:
    """The events where `kept` [M] is true; users keep their numbers."""
    columns = (interactions.user, interactions.item, interactions.time, interactions.event, interactions.value)
    return Interactions(*(column[kept] for column in columns), user_ids=interactions.user_ids)


def make_catalogue(items: pd.DataFrame, item_ids: np.ndarray) -> Catalogue:
    """The vocabulary's items, rows 0 and 1 in front.

    Args:
      items: see `raw.RawData.items`.
      item_ids: [N] the vocabulary, each with one row in `items`.
    """
    rows = items.set_index("item_id").loc[item_ids]
    attributes = [name for name in items.columns if name not in ITEM_COLUMNS]
    return Catalogue(
        item_ids=np.array(["", UNKNOWN_ID, *item_ids], dtype=str),
        titles=np.array(["", UNKNOWN_ID, *rows["title"].str.slice(0, LONGEST)], dtype=str),
        texts=np.array(["", "", *rows["text"].str.slice(0, LONGEST)], dtype=str),
        attributes={name: ((), (), *rows[name]) for name in attributes},
        price=np.concatenate([[np.nan, np.nan], rows["price"]]).astype(np.float32),
        available=np.concatenate([[False, False], rows["available"]]).astype(bool),
    )


def _codes_by_id(ids: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """[M] codes and the sorted different ids that they stand for."""
    codes, unique = pd.factorize(ids)
    unique = np.array(unique, dtype=str)
    order = np.argsort(unique, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank[codes], unique[order]


def _event_indices(events: pd.Series, domain: Domain) -> np.ndarray:
    """[M] int32 event-type indices."""
    codes, names = pd.factorize(events)
    known = {name: index + FIRST_ITEM for index, name in enumerate(domain.events)}
    strange = [name for name in names if name and name not in known]
    if strange:
        log.warning("domain %s lacks the event types %s; they count as unknown", domain.name, strange[:10])
    return np.array([known.get(name, UNKNOWN) for name in names], np.int32)[codes]
