"""What is known of an item before anybody bought it, as numbers: text vector, attribute values, price."""

import collections
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tfrec_llm.types import FIRST_ITEM, Catalogue, Tensor

LEAST = 5  # items that must share a value
MOST = 512  # values, the commonest


class ContentColumns(NamedTuple):
    """The columns of `content_features` of one catalogue, for its own items and for others that come later."""

    values: Mapping[tuple[str, str], int]  # attribute and value -> column
    price: tuple[float, float] | None  # mean and deviation of the logarithms; None = no price is known
    spread: tuple[float, ...]  # of text, values and price

    @classmethod
    def of(cls, catalogue: Catalogue, text: Tensor | None) -> "ContentColumns":
        """Those of a catalogue; arguments as of `content_features`."""
        price = np.asarray(catalogue.price, np.float64)
        logs = np.log(price[np.isfinite(price) & (price > 0)])
        scale = (float(logs.mean()), max(float(logs.std()), 1e-9)) if len(logs) else None
        plain = cls(_places(catalogue), scale, (1.0, 1.0, 1.0))
        return plain._replace(spread=tuple(map(_spread, plain.parts(catalogue, text))))

    def parts(self, catalogue: Catalogue, text: Tensor | None) -> list[np.ndarray]:
        """Text [N+2, D], values [N+2, V] and price [N+2, 1 or 0] of any items, before they are scaled."""
        rows = len(catalogue.item_ids)
        held = np.zeros((rows, len(self.values)))
        for name, items in catalogue.attributes.items():
            for row, values in enumerate(items):
                held[row, [self.values[name, value] for value in values if (name, value) in self.values]] = 1
        price = np.asarray(catalogue.price, np.float64)
        known = np.isfinite(price) & (price > 0)
        priced = np.zeros((rows, 0 if self.price is None else 1))
        if self.price is not None:
            priced[known, 0] = (np.log(price[known]) - self.price[0]) / self.price[1]
        return [np.zeros((rows, 0)) if text is None else np.asarray(text, np.float64), held, priced]

    def features(self, catalogue: Catalogue, text: Tensor | None) -> np.ndarray:
        """[N+2, F] float32, see `content_features`; arguments as there, of any items."""
        parts = [part / spread for part, spread in zip(self.parts(catalogue, text), self.spread, strict=True)]
        found = np.concatenate(parts, axis=1).astype(np.float32)
        found[:FIRST_ITEM] = 0
        return found


def content_features(catalogue: Catalogue, text: Tensor | None) -> np.ndarray:
    """One row per item.

    Args:
      catalogue: attributes and prices.
      text: [N+2, D] text vectors, or None.

    Returns:
      [N+2, F] float32: the text vector, a column for each attribute value that several items share, each scaled to the
      same spread in all, and the logarithm of the price, 0 where unknown; rows 0 and 1 zero.
    """
    return ContentColumns.of(catalogue, text).features(catalogue, text)


def _places(catalogue: Catalogue) -> dict[tuple[str, str], int]:
    """Attribute and value -> column, of the values that several items share."""
    counts = collections.Counter(
        (name, value) for name, items in catalogue.attributes.items() for values in items for value in set(values)
    )
    chosen = [key for key, count in counts.most_common(MOST) if count >= LEAST]
    return {key: column for column, key in enumerate(chosen)}


def _spread(values: np.ndarray) -> float:
    """Root of the summed variances of the items' columns."""
    return max(float(np.sqrt(values[FIRST_ITEM:].var(axis=0).sum())), 1e-9)
