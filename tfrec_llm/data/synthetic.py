"""A Markov population whose best possible recommender is known: for smoke runs and tests.

Every item has one successor in a cycle through all items. After an event of item i a user takes its successor with
probability `predictability`, else an item at random: a model that has learnt the cycle is right at rank 1 with
probability predictability + (1 - predictability) / N, and nothing does better. Titles and texts are invented; what
the users say comes from the domain's templates, like all synthetic utterances.
"""

import numpy as np
import pandas as pd

from tfrec_llm.config import Data
from tfrec_llm.data.domains import load_domain
from tfrec_llm.data.raw import RawData, passage
from tfrec_llm.types import Domain

DAY = 86_400  # seconds
_END = 1_704_067_200  # 2024-01-01; everybody comes in the days before it
_SHARED_BY = 50  # items that have the same value of an attribute, at least, where there are enough items
_ATTRIBUTES = {
    "genre": ("Comedy", "Drama", "Action", "Thriller", "Romance", "Horror", "Sci-Fi", "Western"),
    "decade": ("1990s", "1980s", "1970s", "1960s"),
    "country": ("USA", "France", "Japan", "Italy"),
}
_ADJECTIVES = ("Silent", "Golden", "Broken", "Distant", "Hidden", "Crimson", "Gentle", "Hollow", "Restless", "Last")
_NOUNS = ("River", "Garden", "Lantern", "Harbour", "Mirror", "Station", "Orchard", "Compass", "Winter", "Letter")


def load(settings: Data, seed: int) -> RawData:
    """Invents a population.

    Args:
      settings: synthetic_users, synthetic_items, synthetic_events, predictability, domain.
      seed: of everything.
    """
    rng = np.random.default_rng(seed)
    domain = load_domain(settings.domain)
    item_ids = [f"item-{i:0{len(str(settings.synthetic_items))}d}" for i in range(settings.synthetic_items)]
    items, followed = walk(
        successors(settings.synthetic_items, seed),
        settings.synthetic_users,
        settings.synthetic_events,
        settings.predictability,
        domain.repeat,
        rng,
    )
    return RawData(_events(items, followed, np.array(item_ids), domain, rng), _items(item_ids, rng))


def successors(num_items: int, seed: int) -> np.ndarray:
    """[N] the item that follows each item: one cycle through all of them, known from the seed."""
    order = np.random.default_rng([seed, num_items]).permutation(num_items)
    following = np.empty(num_items, np.int64)
    following[order] = np.roll(order, -1)
    return following


def walk(
    following: np.ndarray,
    num_users: int,
    num_events: int,
    predictability: float,
    repeat: bool,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Users who mostly follow the chain.

    Args:
      following: [N] each item's successor.
      num_users: U.
      num_events: M, events per user.
      predictability: probability that the chain is followed.
      repeat: whether an item may come twice; where it may not and N > M, a seen one is replaced by an unseen one.
      rng: of every draw.

    Returns:
      items [U, M], and followed [U, M] bool: this item was its predecessor's successor.
    """
    num_items, users = len(following), np.arange(num_users)
    seen = np.zeros((num_users, num_items), bool)
    items = np.empty((num_users, num_events), np.int64)
    chained = np.zeros((num_users, num_events), bool)
    for step in range(num_events):
        chosen = rng.integers(num_items, size=num_users)
        follow = rng.random(num_users) < predictability
        if step:
            chosen = np.where(follow, following[items[:, step - 1]], chosen)
        if not repeat and num_items > num_events:
            fresh = np.where(seen, -1.0, rng.random(seen.shape)).argmax(axis=1)
            chosen = np.where(seen[users, chosen], fresh, chosen)
        seen[users, chosen] = True
        items[:, step] = chosen
        chained[:, step] = step > 0 and chosen == following[items[:, step - 1]]
    return items, chained


def _events(
    items: np.ndarray, followed: np.ndarray, item_ids: np.ndarray, domain: Domain, rng: np.random.Generator
) -> pd.DataFrame:
    """Events in time: what follows the chain is liked better than what does not."""
    num_users, num_events = items.shape
    gaps = np.ceil(np.exp(rng.normal(np.log(DAY), 1.5, size=items.shape))).astype(np.int64)  # minutes to weeks
    before_end = rng.integers(5 * DAY, size=(num_users, 1)) + gaps[:, ::-1].cumsum(axis=1)[:, ::-1]
    names = _event_names(domain)
    half = len(names) // 2
    worse, better = rng.integers(half + 1, size=items.shape), rng.integers(half, len(names), size=items.shape)
    event = np.where(followed, better, worse)
    rated = names[0].startswith("rated_")
    users = np.array([f"user-{u:0{len(str(num_users))}d}" for u in range(num_users)])
    return pd.DataFrame(
        {
            "user_id": np.repeat(users, num_events),
            "item_id": item_ids[items.ravel()],
            "timestamp": np.maximum(_END - before_end, 0).ravel(),
            "event": np.array(names)[event.ravel()],
            "value": (event.ravel() + 1.0 if rated else np.ones(event.size)).astype(np.float32),
        }
    )


def _event_names(domain: Domain) -> tuple[str, ...]:
    """The domain's ratings, lowest first; without ratings, its event types by reward."""
    rated = tuple(sorted(name for name in domain.events if name.startswith("rated_")))
    return rated or tuple(sorted(domain.events, key=lambda name: domain.rewards.get(name, 0.0)))


def _items(item_ids: list[str], rng: np.random.Generator) -> pd.DataFrame:
    """Items with invented titles, attributes and texts that name the attributes."""
    num_items = len(item_ids)
    items = pd.DataFrame({"item_id": item_ids})
    words = [(a, b) for a in _ADJECTIVES for b in _NOUNS]
    items["title"] = [
        f"The {' '.join(words[i % len(words)])}" + (f" {i // len(words) + 1}" if i >= len(words) else "")
        for i in rng.permutation(num_items)
    ]
    for name, values in _ATTRIBUTES.items():
        values = values[: max(2, min(len(values), num_items // _SHARED_BY))]
        items[name] = [(values[i % len(values)],) for i in rng.permutation(num_items)]
    facts = zip(items["title"], items["genre"], items["decade"], items["country"], strict=True)
    items["text"] = [passage(title, f"{g[0]} of the {d[0]} from {c[0]}") for title, g, d, c in facts]
    return items.assign(price=np.float32(np.nan), available=True)
