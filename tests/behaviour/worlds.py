"""Small data sets with a known answer."""

import numpy as np
import tensorflow as tf

from tfrec_llm.types import Catalogue, Dataset, Domain, History, Interactions, Queries, Split


def domain(step: str = "event", repeat: bool = True) -> Domain:
    return Domain("toy", step, repeat, ("seen", "bought"), {}, {}, (), (), (), False, (), {}, {}, {}, ())


def dataset_of(item: np.ndarray, num_items: int, step: str = "event", times: np.ndarray | None = None) -> Dataset:
    """A data set from [U, L] item indices; each user's last event is the test, the one before the validation."""
    users, length = item.shape
    user = np.repeat(np.arange(users, dtype=np.int32), length)
    time = np.tile(np.arange(1, length + 1), (users, 1)) * 60 if times is None else times
    log = Interactions(
        user,
        item.reshape(-1).astype(np.int32),
        time.reshape(-1).astype(np.int64),
        2 + (item.reshape(-1) % 2).astype(np.int32),
        np.ones(item.size, np.float32),
        np.arange(users).astype(str),
    )
    last = np.arange(1, users + 1, dtype=np.int64) * length - 1
    train = np.ones(item.size, bool)
    train[last] = train[last - 1] = False

    def queries(rows: np.ndarray) -> Queries:
        return Queries(user[rows], last - length + 1, rows, log.time[rows], log.item[rows], np.arange(users + 1))

    half_b = np.arange(users) % 2 == 1
    split = Split(train, queries(last - 1), half_b, half_b & False, queries(last))
    names = np.array(["", "[unknown]", *(f"item {i}" for i in range(num_items))])
    catalogue = Catalogue(names, names, names, {}, np.full(num_items + 2, np.nan, np.float32), names != "")
    return Dataset("toy", domain(step), log, catalogue, split, {})


def chain(users: int = 200, length: int = 22, num_items: int = 12, predictability: float = 0.95, seed: int = 0):
    """[U, L] items that follow a fixed ring with the given probability and jump anywhere otherwise."""
    generator = np.random.default_rng(seed)
    item = generator.integers(0, num_items, (users, length))
    follows = generator.random((users, length)) < predictability
    ring = generator.permutation(num_items)
    place = np.argsort(ring)
    for t in range(1, length):
        item[:, t] = np.where(follows[:, t], ring[(place[item[:, t - 1]] + 1) % num_items], item[:, t])
    return item + 2


def history(rows: int = 4, length: int = 6, seed: int = 0, lengths: list[int] | None = None) -> History:
    """Random histories over 9 items and 2 event types, unknown event types among them."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, length + 1, rows) if lengths is None else np.asarray(lengths)
    inside = np.arange(length) < lengths[:, None]
    item = np.where(inside, generator.integers(2, 11, (rows, length)), 0).astype(np.int32)
    event = np.where(inside, generator.integers(1, 4, (rows, length)), 0).astype(np.int32)
    time = np.where(inside, np.cumsum(generator.integers(0, 3, (rows, length)), 1) + 50, 0).astype(np.int64)
    return History(tf.constant(item), tf.constant(event), tf.constant(time))


def cut(h: History, length: int) -> History:
    """The first events of each row."""
    return History(*(x[:, :length] for x in h))
