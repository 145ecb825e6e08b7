"""Who may see what: the two split protocols, and the halves of the validation users.

Third step of the flow. `last_item` asks each user for the last event, `first_basket` each user who comes in the last
days for the first basket there. Everything that is learnt comes from the events that `Split.train` marks.
"""

import dataclasses
import logging
from typing import NamedTuple

import numpy as np

from tfrec_llm.data.filters import hash_share
from tfrec_llm.types import FIRST_ITEM, Interactions, Queries, Split

log = logging.getLogger(__name__)

DAY = 86_400  # seconds


class Visits(NamedTuple):
    """Users who come in a period, with the second of their first event there."""

    user: np.ndarray  # [R] int32, ascending
    time: np.ndarray  # [R] int64 seconds
    begin: int  # first second of the period


def last_item(interactions: Interactions, min_user_count: int) -> Split:
    """Last event test, second-to-last validation, the rest is trained on.

    Args:
      interactions: sorted by user and time.
      min_user_count: users with fewer events (or fewer than 2) are only trained on.

    Raises:
      ValueError: no user has enough events.
    """
    ends = np.cumsum(np.bincount(interactions.user, minlength=len(interactions.user_ids)))
    begins = np.concatenate([[0], ends[:-1]])
    asked = np.flatnonzero(ends - begins >= max(min_user_count, 2))
    if not len(asked):
        raise ValueError(
            f"interactions: expected users with at least {max(min_user_count, 2)} events, got none "
            f"(most: {int((ends - begins).max(initial=0))}); add events, or lower data.min_user_count."
        )
    train = np.ones(len(interactions.user), bool)
    train[ends[asked] - 1] = train[ends[asked] - 2] = False
    validation = _one_answer(interactions, asked, begins[asked], ends[asked] - 2)
    test = _one_answer(interactions, asked, begins[asked], ends[asked] - 1)
    return Split(train, validation, *_halves(interactions, validation), test)


def first_basket(interactions: Interactions, validation: Visits, test: Visits) -> Split:
    """The first basket of a period's visitors; events before the validation period are trained on.

    Args:
      interactions: sorted by user and time, items outside the vocabulary dropped.
      validation: who comes in the validation period, found before anything was dropped.
      test: the same for the test period.

    Raises:
      ValueError: there is nothing to train on, or nobody comes in a period.
    """
    train = interactions.time < validation.begin
    for name, size in (("training events", int(train.sum())), ("validation", len(validation.user))):
        if not size:
            raise ValueError(
                f"interactions: expected events before and users in each period, got no {name}; lower data.test_days, "
                "or use data.protocol = 'last_item'."
            )
    asked = first_visit_queries(interactions, validation)
    return Split(train, asked, *_halves(interactions, asked), first_visit_queries(interactions, test))


def find_visits(interactions: Interactions, begin: int, end: int) -> Visits:
    """Who comes in [begin, end) seconds: every user with an event there, however few events that user has."""
    inside = (interactions.time >= begin) & (interactions.time < end)
    users, first = np.unique(interactions.user[inside], return_index=True)
    return Visits(users.astype(np.int32), interactions.time[inside][first], begin)


def first_visit_queries(interactions: Interactions, visits: Visits) -> Queries:
    """What a user who comes will have in the first basket, given everything before the period.

    A basket none of whose items is in the vocabulary leaves a query without relevant items: it scores 0.
    """
    num_users = len(interactions.user_ids)
    begins = np.searchsorted(interactions.user, visits.user)
    before = np.bincount(interactions.user[interactions.time < visits.begin], minlength=num_users)
    asked = np.full(num_users, -1, np.int64)
    asked[visits.user] = visits.time
    row = np.full(num_users, -1, np.int64)
    row[visits.user] = np.arange(len(visits.user))
    basket = interactions.time == asked[interactions.user]
    pairs = np.unique(np.stack([row[interactions.user[basket]], interactions.item[basket].astype(np.int64)]), axis=1)
    pairs = pairs[:, pairs[1] >= FIRST_ITEM]
    sizes = np.bincount(pairs[0], minlength=len(visits.user))
    return Queries(
        user=visits.user,
        begin=begins.astype(np.int64),
        end=(begins + before[visits.user]).astype(np.int64),
        time=visits.time,
        relevant=pairs[1].astype(np.int32),
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
    )


def with_validation(split: Split) -> Split:
    """The split with each user's events between the validation question and the test's among those that are learnt."""
    kept = split.train.copy()
    ends = dict(zip(split.test.user.tolist(), split.test.end.tolist(), strict=True))
    for user, begin in zip(split.validation.user.tolist(), split.validation.end.tolist(), strict=True):
        kept[begin : ends.get(user, begin)] = True
    return dataclasses.replace(split, train=kept)


def _one_answer(interactions: Interactions, users: np.ndarray, begin: np.ndarray, end: np.ndarray) -> Queries:
    """The event right after each history is the answer."""
    return Queries(
        user=users.astype(np.int32),
        begin=begin.astype(np.int64),
        end=end.astype(np.int64),
        time=interactions.time[end],
        relevant=interactions.item[end],
        offsets=np.arange(len(users) + 1, dtype=np.int64),
    )


def _halves(interactions: Interactions, queries: Queries) -> tuple[np.ndarray, np.ndarray]:
    """Half B of the validation queries, and its stopping tenth, by hashes of the user's id.

    Where so few are asked that all fall into one half, the half with the larger hashes is half B.

    Raises:
      ValueError: fewer than two users are asked.
    """
    ids = interactions.user_ids[queries.user]
    if len(ids) < 2:
        raise ValueError(
            f"interactions: expected at least 2 users who are asked in the validation, got {len(ids)}: one half "
            "chooses the models, the other how they are joined; add users, or lower data.min_user_count."
        )
    shares = np.array([hash_share(user, "half") for user in ids])
    half_b = shares >= 0.5
    if half_b.all() or not half_b.any():
        half_b = shares >= np.sort(shares)[len(shares) // 2]
    stop_b = half_b & np.array([hash_share(user, "stop") < 0.1 for user in ids], bool)
    return half_b, stop_b
