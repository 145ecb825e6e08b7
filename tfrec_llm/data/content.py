"""What is known of an item before anybody bought it, as numbers: text vector, attribute values, price."""

import collections

import numpy as np

from tfrec_llm.types import FIRST_ITEM, Catalogue, Tensor

LEAST = 5  # items that must share a value
MOST = 512  # values, the commonest


def content_features(catalogue: Catalogue, text: Tensor | None) -> np.ndarray:
    """One row per item.

    Args:
      catalogue: attributes and prices.
      text: [N+2, D] text vectors, or None.

    Returns:
      [N+2, F] float32: the text vector, a column for each attribute value that several items share, each scaled to the
      same spread in all, and the logarithm of the price, 0 where unknown; rows 0 and 1 zero.
    """
    rows = len(catalogue.item_ids)
    parts = [np.zeros((rows, 0)) if text is None else np.asarray(text, np.float64), _values(catalogue)]
    price = np.asarray(catalogue.price, np.float64)
    known = np.isfinite(price) & (price > 0)
    if known.any():
        logs = np.log(price[known])
        parts.append(np.zeros((rows, 1)))
        parts[-1][known, 0] = (logs - logs.mean()) / max(float(logs.std()), 1e-9)
    parts = [part / _spread(part) for part in parts if part.shape[1]]
    features = np.concatenate([np.zeros((rows, 0)), *parts], axis=1).astype(np.float32)
    features[:FIRST_ITEM] = 0
    return features


def _values(catalogue: Catalogue) -> np.ndarray:
    """[N+2, V] 1 where the item has the value."""
    counts = collections.Counter(
        (name, value) for name, items in catalogue.attributes.items() for values in items for value in set(values)
    )
    chosen = [key for key, count in counts.most_common(MOST) if count >= LEAST]
    place = {key: column for column, key in enumerate(chosen)}
    found = np.zeros((len(catalogue.item_ids), len(chosen)))
    for name, items in catalogue.attributes.items():
        for row, values in enumerate(items):
            columns = [place[name, value] for value in values if (name, value) in place]
            found[row, columns] = 1
    return found


def _spread(values: np.ndarray) -> float:
    """Root of the summed variances of the items' columns."""
    return max(float(np.sqrt(values[FIRST_ITEM:].var(axis=0).sum())), 1e-9)
