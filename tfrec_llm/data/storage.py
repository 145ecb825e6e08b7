"""A Dataset on the disk: what `prepare` leaves behind and every other stage starts from.

dataset.json (name, domain, protocol, user ids), catalogue.json, events.npz, split.npz. Equal datasets give equal
bytes; no pickle anywhere.
"""

import dataclasses
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfrec_llm.data.protocol import check_dataset
from tfrec_llm.types import (
    FIRST_ITEM,
    Catalogue,
    Cold,
    Dataset,
    Domain,
    Interactions,
    Objectives,
    Queries,
    SessionHabits,
    Split,
)

CATALOGUE, NUMBERS = "catalogue.json", "catalogue.npz"
_EVENTS = ("user", "item", "time", "event", "value")


def write_dataset(dataset: Dataset, folder: Path) -> None:
    """Writes a dataset into an existing folder.

    Args:
      dataset: what to keep.
      folder: where; a stage's own folder, which its caller swaps in when all is written.
    """
    facts = {
        "name": dataset.name,
        "domain": dataclasses.asdict(dataset.domain),
        "protocol": dict(dataset.protocol),
        "user_ids": dataset.interactions.user_ids.tolist(),
    }
    catalogue = dataset.catalogue
    _write_json(folder / "dataset.json", facts)
    _write_json(folder / CATALOGUE, _named(catalogue))
    events = {name: getattr(dataset.interactions, name) for name in _EVENTS}
    np.savez_compressed(folder / "events.npz", **events, price=catalogue.price, available=catalogue.available)
    split = dataset.split
    arrays = {"train": split.train, "half_b": split.half_b, "stop_b": split.stop_b}
    for part in ("validation", "test"):
        arrays |= {f"{part}.{name}": value for name, value in vars(getattr(split, part)).items()}
    if split.cold is not None:
        arrays["cold.items"] = split.cold.items
        for part in ("validation", "test"):
            arrays |= {f"cold.{part}.{name}": value for name, value in vars(getattr(split.cold, part)).items()}
    np.savez_compressed(folder / "split.npz", **arrays)


def _named(catalogue: Catalogue) -> dict[str, Any]:
    """What of a catalogue is text."""
    return {
        "item_ids": catalogue.item_ids.tolist(),
        "titles": catalogue.titles.tolist(),
        "texts": catalogue.texts.tolist(),
        "attributes": dict(catalogue.attributes),
    }


def write_catalogue(catalogue: Catalogue, folder: Path) -> None:
    """Writes a catalogue alone into an existing folder."""
    _write_json(folder / CATALOGUE, _named(catalogue))
    np.savez_compressed(folder / NUMBERS, price=catalogue.price, available=catalogue.available)


def read_catalogue(folder: Path) -> Catalogue:
    """Reads what `write_catalogue` wrote.

    Raises:
      ValueError: a file is missing or damaged.
    """
    items, numbers = _read_json(folder / CATALOGUE), _read_arrays(folder / NUMBERS)
    with _as_written(folder):
        return _catalogue(items, numbers)


def read_dataset(folder: Path) -> Dataset:
    """Reads what `write_dataset` wrote.

    Args:
      folder: its folder.

    Raises:
      ValueError: a file is missing or damaged, or the events are not those of the protocol.
    """
    facts, items = _read_json(folder / "dataset.json"), _read_json(folder / CATALOGUE)
    events, split = _read_arrays(folder / "events.npz"), _read_arrays(folder / "split.npz")
    with _as_written(folder):
        dataset = _compose(facts, items, events, split)
        check_dataset(dataset)
    return dataset


def read_names(folder: Path, later: Path | None = None) -> tuple[tuple[str, ...], dict[str, str]]:
    """The event types of the domain, and item id -> title: all that a server needs to know of the data.

    Args:
      folder: that of `write_dataset`.
      later: that of `write_catalogue`, whose catalogue counts if it is there.

    Raises:
      ValueError: a file is missing or damaged.
    """
    facts, items = _read_json(folder / "dataset.json"), _read_json(_newer(folder, later))
    with _as_written(folder):
        titles = dict(zip(items["item_ids"][FIRST_ITEM:], items["titles"][FIRST_ITEM:], strict=True))
        return tuple(facts["domain"]["events"]), titles


class Shown(NamedTuple):
    """What people are told of a data set."""

    domain: str
    rewards: dict[str, float]  # event type -> reward, in the domain's order
    user_attributes: tuple[str, ...]  # none where they are off
    titles: tuple[str, ...]
    item_attributes: dict[str, tuple[str, ...]]  # item id -> its values, attribute after attribute


def read_shown(folder: Path, later: Path | None = None) -> Shown:
    """What a page shows beside ids and titles, without the events.

    Args:
      folder: that of `write_dataset`.
      later: as of `read_names`.

    Raises:
      ValueError: a file is missing or damaged.
    """
    facts, items = _read_json(folder / "dataset.json"), _read_json(_newer(folder, later))
    with _as_written(folder):
        domain, columns = facts["domain"], list(items["attributes"].values())
        rows = zip(*columns, strict=True) if columns else [()] * len(items["item_ids"])
        values = [tuple(value for own in row for value in own) for row in rows]
        return Shown(
            domain["name"],
            {name: float(domain["rewards"].get(name, 0.0)) for name in domain["events"]},
            tuple(domain["attributes"]) if domain["use_attributes"] else (),
            tuple(items["titles"][FIRST_ITEM:]),
            dict(zip(items["item_ids"][FIRST_ITEM:], values[FIRST_ITEM:], strict=True)),
        )


def _newer(folder: Path, later: Path | None) -> Path:
    there = later is not None and (later / CATALOGUE).exists()
    return (later if there else folder) / CATALOGUE


def _compose(facts: dict, items: dict, events: dict, split: dict) -> Dataset:
    return Dataset(
        name=facts["name"],
        domain=_domain(_tuples(facts["domain"])),
        interactions=Interactions(*(events[name] for name in _EVENTS), user_ids=np.array(facts["user_ids"], dtype=str)),
        catalogue=_catalogue(items, events),
        split=Split(
            train=split["train"],
            validation=_queries(split, "validation"),
            half_b=split["half_b"],
            stop_b=split["stop_b"],
            test=_queries(split, "test"),
            cold=_cold(split),
        ),
        protocol=facts["protocol"],
    )


def _catalogue(items: dict, numbers: dict) -> Catalogue:
    return Catalogue(
        **{name: np.array(items[name], dtype=str) for name in ("item_ids", "titles", "texts")},
        attributes=_tuples(items["attributes"]),
        price=numbers["price"],
        available=numbers["available"],
    )


def _domain(facts: dict) -> Domain:
    habits, objectives = SessionHabits(**facts.get("session", {})), Objectives(**facts.get("objectives", {}))
    return Domain(**facts | {"session": habits, "objectives": objectives})


def _cold(arrays: Mapping[str, np.ndarray]) -> Cold | None:
    if "cold.items" not in arrays:
        return None
    return Cold(arrays["cold.items"], _queries(arrays, "cold.validation"), _queries(arrays, "cold.test"))


def _queries(arrays: Mapping[str, np.ndarray], part: str) -> Queries:
    return Queries(**{field.name: arrays[f"{part}.{field.name}"] for field in dataclasses.fields(Queries)})


def _tuples(value: Any) -> Any:
    """JSON's lists as tuples, at any depth."""
    if isinstance(value, dict):
        return {key: _tuples(inner) for key, inner in value.items()}
    return tuple(_tuples(inner) for inner in value) if isinstance(value, list) else value


def _write_json(path: Path, value: Any) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, separators=(",", ":"))


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{path}: expected a file, got none; run `make data` again.") from error
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, got a damaged file ({error}); run `make data` again.") from error


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except FileNotFoundError as error:
        raise ValueError(f"{path}: expected a file, got none; run `make data` again.") from error
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise ValueError(f"{path}: expected arrays, got a damaged file ({error}); run `make data` again.") from error


@contextmanager
def _as_written(folder: Path) -> Iterator[None]:
    """Turns what a damaged file leads to into one sentence."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{folder}: expected what `make data` writes, got {error!s}; run `make data` again."
        ) from error
