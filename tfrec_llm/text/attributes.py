"""What items are, value by value: the attributes that the catalogue knows, and predictions where it knows none.

Place in the flow: the text stage makes them of item vectors; utterances that name a value boost the items that have it.
An attribute is predicted from the rest of an item's text: its own attribute values are cut out before it is encoded, so
that the figures say what an item without them would get.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfrec_llm import metrics
from tfrec_llm.config import Config
from tfrec_llm.data.texts import hash_split
from tfrec_llm.text.classification.fit import fit_head
from tfrec_llm.text.classification.heads import Head
from tfrec_llm.text.classification.tasks import Task
from tfrec_llm.text.encoders.bulk import encode_texts
from tfrec_llm.text.encoders.encoder import TextEncoder
from tfrec_llm.training import Stage, files
from tfrec_llm.types import FIRST_ITEM, Catalogue

BANDS = ("low", "middle", "high")  # thirds of the prices of like items
PRICE_BAND = "price_band"
LEAST_GROUP = 6  # priced items that must share a value before their prices are compared among themselves
LEAST_ITEMS = 30  # items with an attribute below which nothing is learnt of it
SEVERAL = 0.05  # share of items with two values or more from which an attribute is multi-label
SURE = 0.5  # a predicted band less probable says nothing about the price
FILE = "item_attributes"


class ItemAttributes(NamedTuple):
    """Attributes of items, one row per item index."""

    values: Mapping[str, tuple[str, ...]]  # attribute -> values, in the order of the columns of `probabilities`
    probabilities: np.ndarray  # [N+2, V] float32: 1 or 0 where known
    predicted: Mapping[str, np.ndarray]  # attribute -> [N+2] bool: predicted, not known
    price: np.ndarray  # [N+2] float32, nan where neither known nor predicted
    rank: np.ndarray  # [N+2] float32 from 0, the cheapest of like items, to 1; 1/2 where nothing is known
    like: str = ""  # the attribute whose values make items alike; "" = the one with most values

    def columns(self, names: Sequence[tuple[str, str]]) -> np.ndarray:
        """[N+2, len(names)] probabilities of (attribute, value) pairs, 0 where the pair is not among them."""
        pairs = [(name, value) for name in self.values for value in self.values[name]]
        order = {pair: place for place, pair in enumerate(pairs)}
        padded = np.pad(self.probabilities, [(0, 0), (0, 1)])
        return padded[:, [order.get(pair, len(order)) for pair in names]]

    def save(self, folder: Path) -> None:
        """Writes `item_attributes.npz` and, with the names of the columns, `item_attributes.json`."""
        arrays = {f"predicted.{name}": flags for name, flags in self.predicted.items()}
        arrays |= {name: getattr(self, name) for name in ("probabilities", "price", "rank")}
        files.write_npz(folder / f"{FILE}.npz", {**arrays, "like": np.array(self.like)})
        files.write_json(folder / f"{FILE}.json", {name: list(values) for name, values in self.values.items()})

    @classmethod
    def load(cls, folder: Path) -> "ItemAttributes":
        """Reads what `save` wrote."""
        names, stored = files.read_json(folder / f"{FILE}.json"), files.read_npz(folder / f"{FILE}.npz")
        predicted = {name: stored[f"predicted.{name}"] for name in names}
        values = {name: tuple(found) for name, found in names.items()}
        like = str(stored.get("like", ""))  # absent in runs of earlier versions
        return cls(values, stored["probabilities"], predicted, stored["price"], stored["rank"], like)


def item_attributes(
    encoder: TextEncoder,
    catalogue: Catalogue,
    values: Mapping[str, tuple[str, ...]],
    config: Config,
    stage: Stage,
    like: str = "",
) -> tuple[ItemAttributes, dict[str, dict[str, Any]]]:
    """Attributes of all items, and figures `text.items.<attribute>_{accuracy,macro_f1}` on items held out.

    Args:
      encoder: as it will be served.
      catalogue: N+2 rows.
      values: attribute -> values of interest.
      config: sections text and train, and the seed.
      stage: for checkpoints and logs.
      like: as of `price_ranks`.
    """
    ranks = price_ranks(catalogue, values, like)
    bands = bands_of(ranks)
    truth = {name: _held(catalogue, name, values[name]) for name in values}
    known = {name: np.array([bool(own) for own in catalogue.attributes[name]]) for name in values}
    if (bands >= 0).sum() > LEAST_ITEMS:
        values = {**values, PRICE_BAND: BANDS}
        truth[PRICE_BAND], known[PRICE_BAND] = np.eye(len(BANDS), dtype=bool)[bands], bands >= 0
        truth[PRICE_BAND][bands < 0] = False
    learnt = [name for name in values if config.text.slots.predict and _learnable(truth[name])]
    vectors, figures = _bare_vectors(encoder, catalogue, learnt, config) if learnt else None, {}
    columns, predicted = [], {}
    for place, name in enumerate(values):
        found = truth[name].astype(np.float32)
        missing = ~known[name] & (np.arange(len(found)) >= FIRST_ITEM)
        predicted[name] = missing & (name in learnt)
        if name in learnt:
            task = _task(f"items_{place}", catalogue, values[name], truth[name])
            head = fit_head(task[0], vectors[task[1]], config, stage)
            figures |= _judged(name, task[0], vectors[task[1]], head)
            found[missing] = head.probabilities(tf.constant(vectors[missing])).numpy() if missing.any() else 0.0
        columns.append(found)
    table = np.concatenate(columns, axis=1) if columns else np.zeros((len(catalogue.item_ids), 0), np.float32)
    attributes = ItemAttributes(values, table, predicted, np.asarray(catalogue.price, np.float32), ranks, like)
    price = _estimated_prices(attributes, bands)
    return attributes._replace(price=price, rank=_estimated_ranks(attributes)), figures


def finest(values: Mapping[str, tuple[str, ...]]) -> str:
    """The attribute with most values; "" where there is none."""
    return max(values, key=lambda name: len(values[name]), default="")


def price_ranks(catalogue: Catalogue, values: Mapping[str, tuple[str, ...]], like: str = "") -> np.ndarray:
    """Where among the prices of like items each item's price stands.

    Like are items that share a value of one attribute; where fewer than 6 priced items do, or none is known, the whole
    catalogue is compared with.

    Args:
      catalogue: N+2 rows.
      values: attribute -> values that count.
      like: the attribute; "" = the finest of `values`.

    Returns:
      [N+2] float32 from 0, the cheapest, to 1; nan where the price is unknown.
    """
    price = np.asarray(catalogue.price, np.float64)
    priced = np.isfinite(price) & (np.arange(len(price)) >= FIRST_ITEM)
    ranks = np.full(len(price), np.nan, np.float32)
    ranks[priced] = _ranks(price[priced])
    like, groups = like or finest(values), {}
    for row in np.flatnonzero(priced) if like else ():
        for value in catalogue.attributes[like][row][:1]:
            groups.setdefault(value, []).append(row)
    for rows in groups.values():
        if len(rows) >= LEAST_GROUP:
            ranks[rows] = _ranks(price[rows])
    return ranks


def bands_of(ranks: np.ndarray) -> np.ndarray:
    """[N+2] int32 place in `BANDS`, -1 where the rank is nan."""
    known = np.isfinite(ranks)
    thirds = np.minimum(np.where(known, ranks, 0.0) * 3 + 1e-6, 2).astype(np.int32)
    return np.where(known, thirds, -1)


def _ranks(prices: np.ndarray) -> np.ndarray:
    """The place of each price among them, from 0 to 1; equal prices share the middle of their places."""
    if len(prices) < 2:
        return np.full(len(prices), 0.5)
    ordered = np.sort(prices)
    first, last = np.searchsorted(ordered, prices, "left"), np.searchsorted(ordered, prices, "right") - 1
    return (first + last) / 2 / (len(prices) - 1)


def _held(catalogue: Catalogue, name: str, values: Sequence[str]) -> np.ndarray:
    """[N+2, values] bool."""
    places = {value: place for place, value in enumerate(values)}
    held = np.zeros((len(catalogue.item_ids), len(values)), bool)
    for row, own in enumerate(catalogue.attributes[name]):
        held[row, [places[value] for value in own if value in places]] = True
    return held


def _learnable(truth: np.ndarray) -> bool:
    return truth.any(axis=1).sum() >= LEAST_ITEMS and truth.any(axis=0).sum() >= 2


def bare_texts(catalogue: Catalogue, names: Sequence[str]) -> list[str]:
    """The items' texts without their own values of some attributes.

    Args:
      catalogue: N+2 rows.
      names: attributes whose values are cut out; those that the catalogue lacks are passed over.
    """
    named = [name for name in names if name in catalogue.attributes]
    texts = []
    for row, text in enumerate(catalogue.texts):
        own = {value for name in named for value in catalogue.attributes[name][row] if len(value) > 1}
        if own:
            longest = sorted(map(re.escape, own), key=len, reverse=True)
            text = re.sub("|".join(longest), " ", str(text), flags=re.IGNORECASE)
        texts.append(" ".join(str(text).split()))
    return texts


def _bare_vectors(encoder: TextEncoder, catalogue: Catalogue, names: Sequence[str], config: Config) -> np.ndarray:
    text = config.text
    return encode_texts(
        encoder,
        bare_texts(catalogue, names),
        "passage",
        text.max_item_tokens,
        text.batch_size,
        text.precision,
        text.engine,
    )


def _task(name: str, catalogue: Catalogue, values: Sequence[str], truth: np.ndarray) -> tuple[Task, np.ndarray]:
    """The items that have a value, split by their ids, and their rows."""
    rows = np.flatnonzero(truth.any(axis=1))
    several = (truth[rows].sum(axis=1) > 1).mean() > SEVERAL
    targets = truth[rows] if several else truth[rows].argmax(axis=1).astype(np.int32)
    ids = [str(catalogue.item_ids[row]) for row in rows]
    return Task(
        name, "items", tuple(values), np.array(ids), targets, hash_split(ids), np.full(len(rows), "items")
    ), rows


def _judged(name: str, task: Task, vectors: np.ndarray, head: Head) -> dict[str, dict[str, Any]]:
    test = np.flatnonzero(task.split == "test")
    if not len(test):
        return {}
    found = head.probabilities(tf.constant(vectors[test])).numpy()
    if task.multi_label:
        truth, guess = task.targets[test], head.decisions(found)
        right = (truth == guess).all(axis=1)
    else:
        guess = np.eye(found.shape[1], dtype=bool)[found.argmax(axis=1)]
        truth = np.eye(found.shape[1], dtype=bool)[task.targets[test]]
        right = (truth & guess).any(axis=1)
    occurring = truth.any(axis=0)
    entry = {"ci95": None, "over": "users", "n": len(test), "split": "test"}
    macro = metrics.macro_f1(truth[:, occurring], guess[:, occurring])
    return {
        f"text.items.{name}_accuracy": {"value": float(right.mean()), **entry},
        f"text.items.{name}_macro_f1": {"value": macro, **entry},
    }


def _estimated_prices(attributes: ItemAttributes, bands: np.ndarray) -> np.ndarray:
    """Prices, and for items without one the median of their predicted band where it is probable enough."""
    price = attributes.price.copy()
    if PRICE_BAND not in attributes.values:
        return price
    probable = attributes.columns([(PRICE_BAND, band) for band in BANDS])
    for band in range(len(BANDS)):
        rows = attributes.predicted[PRICE_BAND] & (probable.argmax(axis=1) == band) & (probable.max(axis=1) > SURE)
        if rows.any() and (bands == band).any():
            price[rows] = np.median(price[bands == band])
    return price


def _estimated_ranks(attributes: ItemAttributes) -> np.ndarray:
    """Ranks, and for items without one the mean of their predicted bands; the middle where nothing is known."""
    ranks = np.where(np.isfinite(attributes.rank), attributes.rank, 0.5).astype(np.float32)
    if PRICE_BAND in attributes.values:
        rows = attributes.predicted[PRICE_BAND]
        probable = attributes.columns([(PRICE_BAND, band) for band in BANDS])
        ranks[rows] = (probable @ np.array([1 / 6, 1 / 2, 5 / 6], np.float32))[rows]
    return ranks
