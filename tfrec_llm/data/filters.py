"""Which events stay: duplicates go, users are sampled, rare items are dropped.

Second step of the flow, between a loader and the vocabularies. Every choice is counted and logged.
"""

import hashlib
import logging

import numpy as np
import pandas as pd

log = logging.getLogger(__name__)

_EVENT_COLUMNS = ["user_id", "item_id", "timestamp", "event", "value"]


def drop_duplicates(interactions: pd.DataFrame) -> pd.DataFrame:
    """Keeps the first of events that agree in user, item, time, type and value; logs how many went."""
    again = interactions.duplicated(_EVENT_COLUMNS)
    count = int(again.sum())
    if count:
        log.info("%d duplicate events dropped, %d events kept", count, len(interactions) - count)
        interactions = interactions[~again]
    return interactions.reset_index(drop=True)


def sample_users(interactions: pd.DataFrame, max_users: int) -> pd.DataFrame:
    """Keeps the events of `max_users` users, chosen by a hash of the id; 0 keeps all."""
    users = interactions["user_id"].unique()
    if not 0 < max_users < len(users):
        return interactions
    chosen = sorted(users, key=lambda user: (hash_share(user, "sample"), user))[:max_users]
    log.info("%d of %d users kept", len(chosen), len(users))
    return interactions[interactions["user_id"].isin(chosen)].reset_index(drop=True)


def frequent_items(item_ids: pd.Series, min_count: int) -> np.ndarray:
    """Sorted ids of the items with at least `min_count` events.

    Args:
      item_ids: of the events that are counted.
      min_count: fewest events.
    """
    counts = item_ids.value_counts()
    kept = counts.index[counts >= min_count]
    log.info("%d of %d items have at least %d events", len(kept), len(counts), min_count)
    return np.array(sorted(kept), dtype=str)


def refuse_too_small(user_ids: np.ndarray, item_ids: np.ndarray, min_item_count: int) -> None:
    """Nothing can be recommended to a single user, or from a single item.

    Raises:
      ValueError: fewer than two users or two items are left.
    """
    for noun, ids in (("users", user_ids), ("items", item_ids)):
        if len(ids) < 2:
            left = ", ".join(repr(str(i)) for i in ids)
            raise ValueError(
                f"interactions: expected at least 2 {noun}, got {len(ids)} ({left}) after items with fewer than "
                f"{min_item_count} events were dropped; add events, or lower data.min_item_count."
            )


def hash_share(identifier: str, purpose: str) -> float:
    """A number in [0, 1) that depends on an id and a purpose only, the same in every process."""
    digest = hashlib.sha256(f"{purpose}\0{identifier}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
