"""What the candidate source knows of items before any query: popularity, price, content.

Everything is counted on training events and the catalogue only.
"""

from collections.abc import Callable, Mapping

import numpy as np

from tfrec_llm.data.content import content_features
from tfrec_llm.layers.unseen import foresee, seen_items
from tfrec_llm.types import FIRST_ITEM, Catalogue, Dataset, ItemVectors

CONTENT_DIM = 8
WORTH_EVENTS = 20.0  # events of average worth that an item's mean starts from


def training_counts(dataset: Dataset) -> np.ndarray:
    """How many training events each item has: [N+2] float64, rows 0 and 1 zero."""
    items = dataset.interactions.item[dataset.split.train]
    counts = np.bincount(items, minlength=len(dataset.catalogue.item_ids)).astype(np.float64)
    counts[:FIRST_ITEM] = 0
    return counts


def smoothed_log(counts: np.ndarray) -> np.ndarray:
    """log(count + 1/2), centred over the items: [N+2] float32, rows 0 and 1 zero."""
    log = np.log(counts + 0.5)
    return _only_items(log - log[FIRST_ITEM:].mean()).astype(np.float32)


def expected_popularity(dataset: Dataset, counts: np.ndarray, text: np.ndarray | None) -> np.ndarray:
    """`smoothed_log` of the items trained on; of the others what their content foretells: [N+2] float32.

    Args:
      dataset: catalogue.
      counts: [N+2] training events.
      text: [N+2, D] text vectors, or None.
    """
    log = smoothed_log(counts)
    if seen_items(counts)[FIRST_ITEM:].all():
        return log
    return foresee(log[:, np.newaxis], content_features(dataset.catalogue, text), counts)[:, 0]


def with_attributes(items: ItemVectors | None, catalogue: Catalogue) -> ItemVectors | None:
    """Text vectors [N+2, D] with attribute values and prices behind them, as of `data.content`: [N+2, D + A].

    Args:
      items: text vectors, or None.
      catalogue: attributes and prices; where it has none, `items` are returned as they are.
    """
    text = np.zeros([len(catalogue.item_ids), 0], np.float32) if items is None else np.asarray(items.text, np.float32)
    more = content_features(catalogue, text)[:, text.shape[1] :]
    if not more.shape[1]:
        return items
    both = np.concatenate([text, more], axis=1)
    return ItemVectors(both, None, None, None, both.any(axis=1)[:, np.newaxis])


def item_facts(dataset: Dataset, tables: Mapping[str, np.ndarray], counts: np.ndarray) -> np.ndarray:
    """Features of items that no query changes.

    Args:
      dataset: catalogue.
      tables: source -> [N+2, *] item vectors.
      counts: [N+2] training events.

    Returns:
      [N+2, 3 + CONTENT_DIM] float32: log popularity, log price and worth standardised (0 where unknown), then the
      leading principal components of the item vectors, each of unit variance; rows 0 and 1 zero.
    """
    price = np.asarray(dataset.catalogue.price, np.float64)
    known = np.isfinite(price) & (price >= 0)
    popularity = _standardised(np.log(counts + 0.5), np.arange(len(counts)) >= FIRST_ITEM)
    price = _standardised(np.log1p(np.where(known, price, 0.0)), known)
    worth = _standardised(mean_worth(dataset), counts > 0)
    facts = np.column_stack([popularity, price, worth, principal_components(tables, CONTENT_DIM)])
    return _only_items(facts).astype(np.float32)


def mean_worth(dataset: Dataset) -> np.ndarray:
    """[N+2] the mean reward of an item's training events, shrunk towards that of all."""
    events, rows = dataset.interactions, dataset.split.train
    rewards = [dataset.domain.rewards.get(event, 0.0) for event in dataset.domain.events]
    value = np.array([0.0] * FIRST_ITEM + rewards)[events.event[rows]]
    item, size = events.item[rows], len(dataset.catalogue.item_ids)
    total, count = np.bincount(item, value, size), np.bincount(item, minlength=size)
    return (total + WORTH_EVENTS * (value.mean() if len(value) else 0.0)) / (count + WORTH_EVENTS)


def principal_components(tables: Mapping[str, np.ndarray], dim: int) -> np.ndarray:
    """Items along the directions in which their vectors differ most.

    Args:
      tables: source -> [N+2, *] item vectors; each table gets the same weight.
      dim: components; those beyond what the vectors have are zero.

    Returns:
      [N+2, dim] float64 of unit variance over the items, each with its largest loading positive.
    """
    if not any(len(table) > FIRST_ITEM for table in tables.values()):
        return np.zeros([len(next(iter(tables.values()))) if tables else FIRST_ITEM, dim])
    items = {name: np.asarray(table)[FIRST_ITEM:] for name, table in tables.items()}
    return np.pad(main_axes(items, dim)(items), [(FIRST_ITEM, 0), (0, 0)])


def main_axes(tables: Mapping[str, np.ndarray], dim: int) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    """What `principal_components` goes by: tables [M, *] of any items, by the same names -> their components [M, dim].

    Args:
      tables: source -> [N, *] item vectors, without padding.
      dim: components.
    """
    parts = {name: np.asarray(table, np.float64) for name, table in tables.items()}
    scales = {n: (p.mean(axis=0), max(float(p.std(axis=0).sum()), 1e-12)) for n, p in parts.items()}

    def join(others: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.concatenate([(others[n] - mean) / spread for n, (mean, spread) in scales.items()], axis=1)  # [N, Q]

    joined = join(parts)
    variances, directions = np.linalg.eigh(joined.T @ joined / len(joined))
    keep = np.argsort(-variances, kind="stable")[:dim]
    directions = directions[:, keep]  # [Q, dim]
    largest = directions[np.argmax(np.abs(directions), axis=0), np.arange(len(keep))]
    scale = np.where(variances[keep] > 1e-12, 1 / np.sqrt(np.maximum(variances[keep], 1e-12)), 0.0)
    turned = np.pad(directions * np.where(largest < 0, -1.0, 1.0) * scale, [(0, 0), (0, dim - len(keep))])
    return lambda others: join(others) @ turned


def _standardised(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Mean 0 and variance 1 over the known ones, 0 elsewhere."""
    mean, spread = scale_of(values, known)
    return np.where(known, (values - mean) / spread, 0.0)


def scale_of(values: np.ndarray, known: np.ndarray) -> tuple[float, float]:
    """Mean and deviation of the known ones; a deviation of nothing counts as one."""
    if not known.any():
        return 0.0, 1.0
    spread = float(values[known].std())
    return float(values[known].mean()), spread if spread > 1e-9 else 1.0


def _only_items(values: np.ndarray) -> np.ndarray:
    values = values.copy()
    values[:FIRST_ITEM] = 0
    return values
