"""The protocol of a data set in words and as a hash: what `metrics.json` says about how figures were made."""

import hashlib
import json
from typing import Any

import numpy as np

from tfrec_llm.config import Data
from tfrec_llm.data.shown import shown_items
from tfrec_llm.types import FIRST_ITEM, Catalogue, Dataset, Domain, Interactions, Queries, Split


def describe_protocol(
    settings: Data, domain: Domain, interactions: Interactions, catalogue: Catalogue, split: Split
) -> dict[str, Any]:
    """What a published figure has to say about its data.

    Returns:
      dataset, items, users, interactions, split, trained_on, candidates, ties, sha256.
    """
    if settings.protocol == "last_item":
        asked, trained = "each user's last item", "all but the last two events of users who are asked"
    else:
        asked = f"first basket of each user in the last {settings.test_days} days"
        trained = f"events before the last {2 * settings.test_days} days"
    return {
        "dataset": settings.source,
        "items": len(catalogue.item_ids) - 2,
        "users": len(interactions.user_ids),
        "interactions": len(interactions.user),
        "split": f"{settings.protocol}: {asked}; items with at least {settings.min_item_count} events",
        "trained_on": trained + _held_out(settings),
        "candidates": _candidates(domain, catalogue),
        "ties": "shuffled by the seed" if settings.shuffle_ties else "in the file's order",
        "sha256": hash_protocol(interactions, catalogue, split),
    }


def _candidates(domain: Domain, catalogue: Catalogue) -> str:
    """Which items every question is answered from."""
    hidden = int((~shown_items(catalogue, domain)[FIRST_ITEM:]).sum())
    parts = [] if domain.repeat else ["those in the user's history"]
    parts += [f"{hidden} that may not be shown"] if hidden else []
    return "all items" + (f" but {' and '.join(parts)}" if parts else "")


def _held_out(settings: Data) -> str:
    """What else is not trained on, if anything."""
    items = f", without {settings.held_out_items:.0%} of the items" if settings.held_out_items else ""
    users = f", of {settings.train_users:.0%} of the users" if settings.train_users < 1 else ""
    return users + items


def hash_protocol(interactions: Interactions, catalogue: Catalogue, split: Split) -> str:
    """SHA-256 over ids, events and split: equal hashes mean equal questions and equal answers."""
    digest = hashlib.sha256()
    for ids in (interactions.user_ids, catalogue.item_ids):
        digest.update(json.dumps(ids.tolist(), ensure_ascii=False).encode())
    for array in (*_events(interactions), split.train, *_asked(split.validation), split.half_b, split.stop_b):
        digest.update(np.ascontiguousarray(array).tobytes())
    cold = () if split.cold is None else (split.cold.items, *_asked(split.cold.validation), *_asked(split.cold.test))
    for array in (*_asked(split.test), *cold):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def check_dataset(dataset: Dataset) -> None:
    """Whether the events are still those that the protocol describes.

    Raises:
      ValueError: ids, events or split were changed after the protocol was written.
    """
    got = hash_protocol(dataset.interactions, dataset.catalogue, dataset.split)
    if got != dataset.protocol["sha256"]:
        raise ValueError(f"expected ids, events and split with sha256 {dataset.protocol['sha256']}, got {got}")


def _events(interactions: Interactions) -> tuple[np.ndarray, ...]:
    return interactions.user, interactions.item, interactions.time, interactions.event, interactions.value


def _asked(queries: Queries) -> tuple[np.ndarray, ...]:
    return queries.user, queries.begin, queries.end, queries.time, queries.relevant, queries.offsets
