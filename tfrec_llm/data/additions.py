"""Items that appear in the items file after a run was trained, and what changed about those that it knows.

Known items keep their places, new ones come behind them, so that an index means the same item for good. Next: what
serves takes the catalogue over without any training.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from tfrec_llm.types import FIRST_ITEM, Catalogue


class Change(NamedTuple):
    """A catalogue after another look into the items file."""

    catalogue: Catalogue
    added: tuple[str, ...]  # ids that were not known before
    gone: tuple[str, ...]  # known items that are shown no longer: not in the file, or not available
    back: tuple[str, ...]  # known items that are shown again
    retold: tuple[str, ...]  # known items with another title or price; added later, with another text or attribute too
    waiting: tuple[str, ...]  # trained items whose text or attributes changed: their vectors wait for a training

    @property
    def is_none(self) -> bool:
        """Whether the catalogue stayed as it was."""
        return not (self.added or self.gone or self.back or self.retold)


def look_again(known: Catalogue, trained: int, items: pd.DataFrame) -> Change:
    """What becomes of a catalogue.

    Known items take title, price and availability from the file; those that it lacks are not available, but for those
    that it never had, of which the training knew nothing but their ids: these stay as they are. Texts and
    attributes of items that were trained on stay as they were trained; those of items added later are taken too.

    Args:
      known: N+2 rows, the trained ones first.
      trained: how many rows, 0 and 1 included, were there in training.
      items: the file as of `files.read_catalogue`.
    """
    place = pd.Index(items["item_id"]).get_indexer(known.item_ids)
    there = place >= 0
    there[:FIRST_ITEM] = False
    new = items[~items["item_id"].isin(known.item_ids)].sort_values("item_id")
    found = _rows(items.iloc[np.maximum(place, 0)], known)
    free = there & (np.arange(len(place)) >= trained)
    other = _differ(known, found)
    renewed = replace(
        known,
        titles=np.where(there, found.titles, known.titles),
        price=np.where(there, found.price, known.price),
        available=np.where(there, found.available, known.available & _nameless(known)),
        texts=np.where(free, found.texts, known.texts),
        attributes={
            name: tuple(
                theirs if later else ours for ours, theirs, later in zip(own, found.attributes[name], free, strict=True)
            )
            for name, own in known.attributes.items()
        },
    )
    return Change(
        _joined(renewed, _rows(new, known)),
        tuple(map(str, new["item_id"])),
        _names(known, known.available & ~renewed.available),
        _names(known, renewed.available & ~known.available),
        _names(known, _retold(known, renewed) | (free & other)),
        _names(known, there & ~free & other),
    )


def _nameless(catalogue: Catalogue) -> np.ndarray:
    """[rows] bool: items of which nothing is known but their ids, as of `files.read_items`."""
    blank = [not any(values[row] for values in catalogue.attributes.values()) for row in range(len(catalogue.item_ids))]
    return (catalogue.titles == catalogue.item_ids) & (catalogue.texts == "") & np.array(blank, bool)


def part(catalogue: Catalogue, rows: Sequence[int] | np.ndarray) -> Catalogue:
    """Some items as a catalogue of their own, rows 0 and 1 in front."""
    chosen = np.concatenate([np.arange(FIRST_ITEM), np.asarray(rows, np.int64)])
    columns = {n: getattr(catalogue, n)[chosen] for n in ("item_ids", "titles", "texts", "price", "available")}
    attributes = {name: tuple(values[row] for row in chosen) for name, values in catalogue.attributes.items()}
    return Catalogue(**columns, attributes=attributes)


def _rows(items: pd.DataFrame, known: Catalogue) -> Catalogue:
    """Rows of the file with the attributes that a catalogue has, without rows 0 and 1."""
    return Catalogue(
        item_ids=items["item_id"].to_numpy(str),
        titles=items["title"].to_numpy(str),
        texts=items["text"].to_numpy(str),
        attributes={
            name: tuple(items[name]) if name in items.columns else ((),) * len(items) for name in known.attributes
        },
        price=items["price"].to_numpy(np.float32),
        available=items["available"].to_numpy(bool),
    )


def _joined(first: Catalogue, second: Catalogue) -> Catalogue:
    columns = ("item_ids", "titles", "texts", "price", "available")
    return Catalogue(
        **{name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in columns},
        attributes={name: (*values, *second.attributes[name]) for name, values in first.attributes.items()},
    )


def _retold(before: Catalogue, after: Catalogue) -> np.ndarray:
    same = (before.price == after.price) | (np.isnan(before.price) & np.isnan(after.price))
    return ~same | (before.titles != after.titles)


def _differ(known: Catalogue, found: Catalogue) -> np.ndarray:
    """[N+2] bool: another text, or another value of an attribute."""
    other = known.texts != found.texts
    for name, values in known.attributes.items():
        other |= np.array([ours != theirs for ours, theirs in zip(values, found.attributes[name], strict=True)])
    return other


def _names(catalogue: Catalogue, chosen: np.ndarray) -> tuple[str, ...]:
    return tuple(map(str, catalogue.item_ids[chosen]))
