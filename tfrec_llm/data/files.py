"""A user's own CSV or Parquet files: interactions, items, users, utterances.

Everything is checked before any training: one message names the file, the column, the first bad rows and what to do.
"""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tfrec_llm.config import ConfigError, Data
from tfrec_llm.data.cells import (
    holds_links,
    is_measure,
    read_flags,
    read_ids,
    read_numbers,
    read_prices,
    read_seconds,
    read_values,
    read_words,
)
from tfrec_llm.data.domains import load_domain
from tfrec_llm.data.labels_file import with_texts
from tfrec_llm.data.raw import RawData, passage
from tfrec_llm.data.tables import Table, read_table
from tfrec_llm.types import Domain

log = logging.getLogger(__name__)

MOST_MISSING = 0.2  # share of events whose items the items file may lack
_ITEM_COLUMNS = ("item_id", "title", "text", "price", "categories", "available", "image_path")
_EVENT_COLUMNS = ("user_id", "item_id", "timestamp", "event", "value")
_COLUMNS = {*_EVENT_COLUMNS, "intent", "emotion", "sentiment", *_ITEM_COLUMNS}


def load(settings: Data, seed: int) -> RawData:
    """Reads the files that the config names.

    Args:
      settings: interactions, items, users, utterances, columns, domain.
      seed: not looked at.

    Raises:
      ConfigError: no path to interactions, or data.columns maps a column that does not exist.
      ValueError: bad input; the message names file, column, rows and what to do.
    """
    del seed
    if not settings.interactions:
        raise ConfigError("data.interactions: expected a path to CSV or Parquet with source = 'files', got ''.")
    strange = sorted(set(settings.columns) - _COLUMNS)
    if strange:
        raise ConfigError(f"data.columns: expected names among {', '.join(sorted(_COLUMNS))}, got {strange[0]!r}.")
    table = read_table(settings.interactions, ("user_id", "item_id", "timestamp"), settings.columns)
    events = read_events(table, load_domain(settings.domain))
    items = read_items(settings, table, events["item_id"])
    if settings.users:
        users = read_table(settings.users, ("user_id",), settings.columns)
        _refuse_repeated(users, read_ids(users, "user_id"), "user_id")
        log.info("%s: %d users", users.path, len(users.frame))
    if settings.utterances:
        check_utterances(read_table(settings.utterances, ("text",), settings.columns))
    return RawData(events, items)


def read_events(table: Table, domain: Domain) -> pd.DataFrame:
    """Interactions in the form of `raw.RawData`.

    Where `event` is empty or no column, values from 0.5 to 5 are ratings where the domain has ratings; everything else
    is what the domain calls an event without a name.
    """
    _name_unused(table)
    events = pd.DataFrame({name: read_ids(table, name) for name in ("user_id", "item_id")})
    for name in events:
        _refuse_single(table, events[name], name)
    events["timestamp"] = read_seconds(table, "timestamp")
    values = read_numbers(table, "value", unknown=np.nan)
    events["value"] = np.where(np.isnan(values), 1.0, values)
    named = read_words(table, "event")
    events["event"] = named.where(named != "", _events_of(values, domain)) if (named == "").any() else named
    return events


def _name_unused(table: Table) -> None:
    """Says which columns of the interactions are not read: a rating under another name would be lost in silence."""
    unused = [str(name) for name in table.frame.columns if name not in _EVENT_COLUMNS]
    if unused:
        log.warning(
            "%s: columns %s are not used; if one holds ratings or other values, say so with "
            "data.columns = { value = %r }",
            table.path, ", ".join(map(repr, unused)), "rating" if "rating" in unused else unused[0],
        )  # fmt: skip


def _events_of(values: Sequence[float], domain: Domain) -> list[str]:
    """The event type of each value: a rating, rounded to a whole one, or the domain's unnamed event."""
    values, ratings = np.asarray(values, float), any(name.startswith("rated_") for name in domain.events)
    given = values[~np.isnan(values)]
    if not ratings or not len(given):
        return [domain.unnamed] * len(values)
    if given.min() < 0.5 or not 1 < given.max() <= 5:  # all ones say that it happened
        log.warning(
            "values from %g to %g are no ratings from 0.5 to 5: events are %r", given.min(), given.max(), domain.unnamed
        )
        return [domain.unnamed] * len(values)
    return [domain.unnamed if np.isnan(value) else f"rated_{int(value + 0.5)}" for value in values]


def read_items(settings: Data, interactions: Table, used: pd.Series) -> pd.DataFrame:
    """Items in the form of `raw.RawData`.

    Args:
      settings: items ("" = the interactions' ids are all that is known), columns.
      interactions: for messages about items that are missing.
      used: item ids of the interactions.
    """
    if not settings.items:
        return _nameless(used.unique(), ())
    table, ids = _item_table(settings)
    missing = ~used.isin(ids).to_numpy(bool)
    if missing.mean() > MOST_MISSING:
        remedy = f"add the items to {table.path}, or remove these events"
        interactions.refuse("item_id", missing, f"an item of {table.path}", remedy)
    items = _items_of(table, ids)
    if missing.any():
        items = pd.concat([items, _nameless(used[missing].unique(), items.columns)], ignore_index=True)
        log.warning(
            "%s: %d items of %d events are not in it, such as %r: they are known by their ids alone",
            table.path, used[missing].nunique(), missing.sum(), used[missing].iloc[0],
        )  # fmt: skip
    return items


def _nameless(ids: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """Items of which nothing is known but their ids; attributes have no value."""
    facts = {"item_id": ids, "title": ids, "text": "", "price": np.float32(np.nan), "available": True}
    made = pd.DataFrame(facts)
    for name in set(columns) - set(facts):
        made[name] = [()] * len(made)
    return made


def read_catalogue(settings: Data) -> pd.DataFrame:
    """All items of the items file in the form of `raw.RawData`, whether anything happened to them or not.

    Args:
      settings: items, columns.

    Raises:
      ConfigError: the data has no items file.
      ValueError: bad input, as of `load`.
    """
    if settings.source != "files" or not settings.items:
        raise ConfigError(
            "data.items: expected an items file of your own (source = 'files'), in which new items can appear, got "
            f"source = {settings.source!r}, items = {settings.items!r}; train on your own files first."
        )
    return _items_of(*_item_table(settings))


def _item_table(settings: Data) -> tuple[Table, pd.Series]:
    table = read_table(settings.items, ("item_id", "title"), settings.columns)
    ids = read_ids(table, "item_id")
    if repeated := int(ids.duplicated().sum()):
        log.warning(
            "%s: %d rows repeat an id, such as %r: the first row of each counts",
            table.path, repeated, ids[ids.duplicated()].iloc[0],
        )  # fmt: skip
    return table, ids


def _items_of(table: Table, ids: pd.Series) -> pd.DataFrame:
    titles = read_words(table, "title")
    items = pd.DataFrame({"item_id": ids, "title": titles.where(titles != "", ids)})
    items["price"] = read_prices(table, "price")
    negative = (items["price"] < 0).to_numpy(bool)
    table.refuse("price", negative, "a price of at least 0", "correct the cells, or leave them empty")
    items["available"] = read_flags(table, "available")
    if not items["available"].any():
        table.refuse(
            "available", ~items["available"].to_numpy(bool), "true somewhere", "correct it, or remove the column"
        )
    attributes = _read_attributes(table)
    for name, values in attributes.items():
        items[name] = values
    items["text"] = _passages(titles, read_words(table, "text"), attributes)  # an id says nothing
    return items[~ids.duplicated()].reset_index(drop=True)


def check_utterances(table: Table) -> None:
    """Whether a file of utterances can be read: `data.labels_file` takes its labels.

    Raises:
      ValueError: bad input; the message names file, column, rows and what to do.
    """
    with_texts(table)
    if "timestamp" in table.frame.columns:
        read_seconds(table, "timestamp")


def _read_attributes(table: Table) -> dict[str, list[tuple[str, ...]]]:
    """Every other column that holds names; `categories` is called category, and joins it where there are both."""
    attributes = {}
    for name in table.frame.columns:
        if name in set(_ITEM_COLUMNS) - {"categories", "image_path"}:
            continue
        if is_measure(table, name):
            log.info("%s: column %r holds numbers and is not used", table.path, name)
        elif name != "image_path" and holds_links(table, name):
            log.info("%s: column %r holds links and is not used", table.path, name)
        else:
            values, name = read_values(table, name), "category" if name == "categories" else name
            before = attributes.get(name, [()] * len(values))
            attributes[name] = [tuple(dict.fromkeys(a + b)) for a, b in zip(before, values, strict=True)]
    return attributes


def _passages(titles: pd.Series, texts: pd.Series, attributes: dict[str, list[tuple[str, ...]]]) -> list[str]:
    said = [name for name in attributes if name != "image_path"]
    return [
        passage(title, text, *(", ".join(attributes[name][row]) for name in said))
        for row, (title, text) in enumerate(zip(titles, texts, strict=True))
    ]


def _refuse_repeated(table: Table, ids: pd.Series, column: str) -> None:
    table.refuse(column, ids.duplicated().to_numpy(bool), "each id once", "remove the repeated rows")


def _refuse_single(table: Table, ids: pd.Series, column: str) -> None:
    first = ids.iloc[0]
    if (ids == first).all():
        raise ValueError(
            f"{table.path}: column {table.names.get(column, column)!r}: expected at least 2 different ids, got only "
            f"{first!r} in all {len(ids):,} rows; there is nothing to choose between: add events."
        )
