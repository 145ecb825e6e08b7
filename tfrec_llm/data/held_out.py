"""What training may not see: items held out to judge cold start, users left out to judge how much data is needed.

Last step before the protocol is described. Both choices are made by a hash of the id, so that they depend on nothing
else. An event of a held-out item stays in the histories, where a new item would turn up too, but nothing is learnt from
it, and no question that such an item answers helps to choose anything.
"""

import dataclasses
import logging

import numpy as np

from tfrec_llm.config import Data
from tfrec_llm.data.filters import hash_share
from tfrec_llm.types import FIRST_ITEM, Catalogue, Cold, Interactions, Queries, Split

log = logging.getLogger(__name__)


def hold_out(split: Split, interactions: Interactions, catalogue: Catalogue, settings: Data) -> Split:
    """The split without what `data.held_out_items` and `data.train_users` keep from training.

    Args:
      split: of one of the protocols.
      interactions: its events.
      catalogue: ids of the items.
      settings: the two shares.

    Raises:
      ValueError: nothing is left to train on, or no question is answered by a held-out item.
    """
    if settings.train_users < 1:
        split = _fewer_users(split, interactions, settings.train_users)
    if settings.held_out_items > 0:
        split = _fewer_items(split, interactions, catalogue, settings.held_out_items)
    if not split.train.any():
        raise ValueError(
            f"data: expected training events, got none with train_users={settings.train_users} and "
            f"held_out_items={settings.held_out_items}; raise the one or lower the other."
        )
    return split


def _fewer_users(split: Split, interactions: Interactions, share: float) -> Split:
    """Learns from a share of the users; all of them are asked the test."""
    chosen = np.array([hash_share(user, "train") < share for user in interactions.user_ids], bool)
    log.info("%d of %d users are learnt from", chosen.sum(), len(chosen))
    kept = chosen[split.validation.user]
    return dataclasses.replace(
        split,
        train=split.train & chosen[interactions.user],
        validation=_some(split.validation, kept),
        half_b=split.half_b[kept],
        stop_b=split.stop_b[kept],
    )


def _fewer_items(split: Split, interactions: Interactions, catalogue: Catalogue, share: float) -> Split:
    """Learns from the other items; questions that held-out items answer are asked apart."""
    held = np.array([hash_share(item, "held out") < share for item in catalogue.item_ids], bool)
    held[:FIRST_ITEM] = False
    cold = Cold(held, *(_answered_by(part, held) for part in (split.validation, split.test)))
    if not len(cold.test.user) or not len(cold.validation.user):
        raise ValueError(
            f"data.held_out_items={share}: expected questions of validation and test that a held-out item answers, "
            f"got none among {int(held.sum())} such items; raise the share or add events."
        )
    asked = _stays(split.validation, held)
    log.info("%d of %d items are held out", held.sum(), len(held) - FIRST_ITEM)
    return dataclasses.replace(
        split,
        train=split.train & ~held[interactions.item],
        validation=_some(_without(split.validation, held), asked),
        half_b=split.half_b[asked],
        stop_b=split.stop_b[asked],
        test=_some(_without(split.test, held), _stays(split.test, held)),
        cold=cold,
    )


def _answered_by(queries: Queries, items: np.ndarray) -> Queries:
    """The queries that some of the items answer, with only these answers."""
    kept = _without(queries, ~items)
    return _some(kept, np.diff(kept.offsets) > 0)


def _stays(queries: Queries, held: np.ndarray) -> np.ndarray:
    """[R] bool: queries with an answer besides the held-out ones; those without any answer stay too and score 0."""
    return (np.diff(_without(queries, held).offsets) > 0) | (np.diff(queries.offsets) == 0)


def _without(queries: Queries, items: np.ndarray) -> Queries:
    """The same queries without these answers."""
    kept = ~items[queries.relevant]
    owner = np.repeat(np.arange(len(queries.user)), np.diff(queries.offsets))[kept]
    sizes = np.bincount(owner, minlength=len(queries.user))
    return dataclasses.replace(queries, relevant=queries.relevant[kept], offsets=_offsets(sizes))


def _some(queries: Queries, rows: np.ndarray) -> Queries:
    """Some of the queries; `rows` is [R] bool."""
    sizes = np.diff(queries.offsets)
    columns = {name: getattr(queries, name)[rows] for name in ("user", "begin", "end", "time")}
    return Queries(**columns, relevant=queries.relevant[np.repeat(rows, sizes)], offsets=_offsets(sizes[rows]))


def _offsets(sizes: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
