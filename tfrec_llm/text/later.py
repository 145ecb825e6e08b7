"""Attributes of items that came after the training: what the catalogue says of them; nothing is predicted."""

import numpy as np

from tfrec_llm.text.attributes import BANDS, PRICE_BAND, ItemAttributes, bands_of, price_ranks
from tfrec_llm.types import Catalogue


def with_later(attributes: ItemAttributes, catalogue: Catalogue) -> ItemAttributes:
    """Attributes of trained items, and behind them those of items that came later.

    Args:
      attributes: N+2 rows, as they were trained.
      catalogue: N+2+M rows; prices of trained items that it knows are taken too.
    """
    trained, names = len(attributes.rank), [name for name in attributes.values if name != PRICE_BAND]
    known = {name: attributes.values[name] for name in names}
    ranks = price_ranks(catalogue, known, attributes.like)[trained:]
    columns = [_held(catalogue, name, attributes.values[name], trained) for name in names]
    if PRICE_BAND in attributes.values:
        bands = bands_of(ranks)
        columns.insert(list(attributes.values).index(PRICE_BAND), np.eye(len(BANDS))[bands] * (bands >= 0)[:, None])
    table = np.concatenate([np.zeros((len(ranks), 0)), *columns], axis=1).astype(np.float32)
    price = np.concatenate([attributes.price, np.full(len(ranks), np.nan, np.float32)])
    return ItemAttributes(
        attributes.values,
        np.concatenate([attributes.probabilities, table]),
        {name: np.pad(flags, (0, len(ranks))) for name, flags in attributes.predicted.items()},
        np.where(np.isfinite(catalogue.price), catalogue.price, price),
        np.concatenate([attributes.rank, np.where(np.isfinite(ranks), ranks, 0.5)]),
        attributes.like,
    )


def _held(catalogue: Catalogue, name: str, values: tuple[str, ...], first: int) -> np.ndarray:
    """[M, values] 1 where an item has the value."""
    rows = catalogue.attributes[name][first:]
    return np.array([[value in own for value in values] for own in rows], float).reshape(len(rows), len(values))
