"""What users did with items, as positive or negative responses: what both simulators are fitted on.

Only training events are read. An event is a positive response where the domain's reward for it reaches
`session.positive`. A log in which all events are alike has no other kind of response: there every event is positive,
and for each of them one item that the user has no event with, drawn uniformly, counts as negative. Probabilities then
tell chosen from random items, not liked from disliked ones.
"""

import logging
from typing import NamedTuple

import numpy as np

from tfrec_llm.ranking.rewards import event_values
from tfrec_llm.types import FIRST_ITEM, Dataset

_log = logging.getLogger(__name__)
LEAST_EVENTS = 20  # fewer are refused
MOST_EVENTS = 1_000_000  # more are sampled
CALIBRATE, HELD_OUT = 0.1, 0.1  # shares of the responses


class Responses(NamedTuple):
    """Responses, in no order."""

    user: np.ndarray  # [M] int32
    item: np.ndarray  # [M] int32
    positive: np.ndarray  # [M] float32, 1 or 0
    observed: np.ndarray  # [M] float32: 0 where an item without an event was drawn

    def at(self, rows: np.ndarray) -> "Responses":
        """Some of them."""
        return Responses(*(column[rows] for column in self))


class Divided(NamedTuple):
    """Responses apart: what is fitted on, what calibrates and stops, what judges the fit."""

    fit: Responses
    calibrate: Responses
    held_out: Responses


def observed_responses(dataset: Dataset, seed: int) -> Responses:
    """The responses in training events, shuffled.

    Args:
      dataset: only its training events are read.
      seed: of the order, and of the items drawn.

    Raises:
      ValueError: there are no training events of known items.
    """
    generator, log = np.random.default_rng([seed, 5]), dataset.interactions
    rows = np.flatnonzero(dataset.split.train & (log.item >= FIRST_ITEM))
    if len(rows) < LEAST_EVENTS:
        raise ValueError(
            f"simulators: expected at least {LEAST_EVENTS} training events of known items, got {len(rows)}; "
            "set ranking.simulate_sessions = 0 and simulate.session_users = 0."
        )
    rows = generator.permutation(rows)[:MOST_EVENTS]
    positive = event_values(dataset.domain)[log.event[rows]] >= dataset.domain.session.positive
    user, item = log.user[rows], log.item[rows]
    ones = np.ones(len(rows), np.float32)
    if positive.any() and not positive.all():
        return Responses(user, item, positive.astype(np.float32), ones)
    _log.info("simulators: all events of the log are alike; items without an event are drawn as negative responses")
    drawn, other = _others(dataset, user, generator)
    columns = (np.r_[user, user[drawn]], np.r_[item, other], np.r_[ones, 0 * ones[drawn]], np.r_[ones, 0 * ones[drawn]])
    return Responses(*columns).at(generator.permutation(len(columns[0])))


def divide(responses: Responses) -> Divided:
    """Cuts shuffled responses: a tenth calibrates, a tenth is held out."""
    count = len(responses.user)
    first, second = int(count * (1 - CALIBRATE - HELD_OUT)), int(count * (1 - HELD_OUT))
    parts = (np.arange(first), np.arange(first, second), np.arange(second, count))
    return Divided(*(responses.at(rows) for rows in parts))


def _others(dataset: Dataset, user: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Positions in `user` and for each an item that the user has no training event with."""
    log, width = dataset.interactions, len(dataset.catalogue.item_ids)
    rows = dataset.split.train
    held = np.unique(log.user[rows].astype(np.int64) * width + log.item[rows])
    item = generator.integers(FIRST_ITEM, width, len(user)).astype(np.int32)
    free = np.flatnonzero(~np.isin(user.astype(np.int64) * width + item, held))
    return free, item[free]
