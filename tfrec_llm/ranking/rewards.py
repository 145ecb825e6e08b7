"""What events are worth: the reward of an event, and the satisfaction with a session.

Both come from the domain's tables. Rewards lie in [0, 1], so that agents can read them as probabilities of success.
"""

import numpy as np

from tfrec_llm.types import FIRST_ITEM, PADDING, Domain


def event_values(domain: Domain) -> np.ndarray:
    """The reward of each event type happening to a shown item.

    Returns:
      [V+2] float32 by event index; 0 for padding, for unknown events and for events without a reward.

    Raises:
      ValueError: a reward for an event that the domain lacks, or outside [0, 1].
    """
    return _by_event(domain, domain.rewards, "rewards", low=0.0)


def satisfaction(domain: Domain, events: np.ndarray) -> np.ndarray:
    """How satisfied users were with their sessions.

    S = (1 + mean of w(e) over the session's events e) / 2, with the domain's weights w in [-1, 1]: 1 where every event
    is the best one, 0 where every event is the worst one, 1/2 for a session without events that the domain knows.
    The mean, not the sum, so that a long session is not a good one for its length alone.

    Args:
      domain: its `satisfaction` weights; an event without a weight counts as 0.
      events: [S, L] event indices of each session, 0 is padding, 1 unknown; both are left out of the mean.

    Returns:
      [S] in [0, 1].

    Raises:
      ValueError: a weight outside [-1, 1], or an event index that the domain lacks.
    """
    weights = _by_event(domain, domain.satisfaction, "satisfaction", low=-1.0)
    events = np.asarray(events)
    if events.ndim != 2 or (events.size and not (events.min() >= PADDING and events.max() < len(weights))):
        raise ValueError(
            f"expected events [S, L] with indices from 0 to {len(weights) - 1}, got shape {events.shape}: "
            "encode events with the domain that the weights come from."
        )
    known = events >= FIRST_ITEM
    mean = np.where(known, weights[events], 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return ((1 + mean) / 2).astype(np.float32)


def check_rewards(rewards: np.ndarray, where: str) -> np.ndarray:
    """Refuses rewards that no agent should learn from.

    Args:
      rewards: any shape.
      where: what the error message calls them.

    Returns:
      The rewards as float32.

    Raises:
      ValueError: NaN, infinite, or outside [0, 1].
    """
    rewards = np.asarray(rewards, np.float32)
    bad = ~((rewards >= 0) & (rewards <= 1))
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{where}: expected finite rewards in [0, 1], got {rewards[first]} at {first} and {bad.sum() - 1} more "
            "like it; correct the [rewards] of the domain, or scale the rewards."
        )
    return rewards


def _by_event(domain: Domain, table: dict, what: str, low: float) -> np.ndarray:
    """A table of the domain as [V+2] float32 by event index."""
    values = np.zeros(len(domain.events) + FIRST_ITEM, np.float32)
    for event, value in table.items():
        if event not in domain.events:
            known = ", ".join(domain.events)
            raise ValueError(f"domain {domain.name}: {what}: expected events out of {known}; got {event!r}.")
        if not low <= value <= 1:
            raise ValueError(f"domain {domain.name}: {what}: expected {event} in [{low:g}, 1], got {value}.")
        values[FIRST_ITEM + domain.events.index(event)] = value
    return values
