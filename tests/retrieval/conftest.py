"""A small world with a known answer: users walk a ring of items, or wander without any rule."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.data import histories
from tfrec_llm.training import Stage
from tfrec_llm.types import Catalogue, Dataset, Domain, History, Interactions, Queries, Split


def domain(step="event", repeat=False, deny=()):
    nothing = {}
    return Domain(
        "toy", step, repeat, ("buy",), {"buy": 1.0}, {}, (), (), (), False, (), nothing, nothing, nothing, deny
    )


def make_world(users=60, items=20, events=12, noise=0.0, seed=0, per_step=1, **kwargs):
    """Users whose next item is the ring's next one, but for a share of `noise`; `per_step` events share a second."""
    rng = np.random.default_rng(seed)
    ring = np.empty(items, np.int64)
    order = rng.permutation(items)
    ring[order] = np.roll(order, -1)
    item = np.empty([users, events], np.int64)
    item[:, 0] = rng.integers(0, items, users)
    for t in range(1, events):
        item[:, t] = np.where(rng.random(users) < noise, rng.integers(0, items, users), ring[item[:, t - 1]])
    size, rows = users * events, items + 2
    end = (np.arange(users) + 1) * events
    time = np.tile(1000 + 100 * (np.arange(events) // per_step), users)

    def asked(back):
        at = end - back
        return Queries(
            np.arange(users, dtype=np.int32), end - events, at, time[at], item.ravel()[at].astype(np.int32) + 2,
            np.arange(users + 1),
        )  # fmt: skip

    train = np.ones(size, bool)
    train[end - 1] = train[end - 2] = False
    half_b = np.arange(users) % 2 == 1
    interactions = Interactions(
        np.repeat(np.arange(users), events).astype(np.int32),
        (item.ravel() + 2).astype(np.int32),
        time.astype(np.int64),
        np.full(size, 2, np.int32),
        np.ones(size, np.float32),
        np.array([f"u{u}" for u in range(users)]),
    )
    ids = np.array(["", "[unknown]", *(f"i{i}" for i in range(items))])
    price = np.full(rows, np.nan, np.float32)
    catalogue = Catalogue(ids, ids, ids, {}, price, np.arange(rows) >= 2)
    split = Split(train, asked(2), half_b, half_b & (np.arange(users) % 4 == 1), asked(1))
    dataset = Dataset("toy", domain(**kwargs), interactions, catalogue, split, {})
    return SimpleNamespace(dataset=dataset, ring=np.concatenate([[0, 0], ring + 2]))


@pytest.fixture(scope="session")
def world():
    return make_world


@pytest.fixture(scope="session")
def toy_domain():
    return domain


@pytest.fixture
def stage(tmp_path):
    def make(name="towers"):
        folders = [tmp_path / name / part for part in ("folder", "work", "logs")]
        for folder in folders:
            folder.mkdir(parents=True)
        return Stage(name, *folders)

    return make


@pytest.fixture(scope="session")
def as_history():
    """Lists of items -> History, one event a step."""

    def make(*rows, width=None):
        width = width or max(map(len, rows))
        item = np.array([[*row, *[0] * (width - len(row))] for row in rows], np.int32)
        time = np.where(item > 0, 1000 + 100 * np.arange(width), 0)
        return History(tf.constant(item), tf.constant(np.where(item > 0, 2, 0), tf.int32), tf.constant(time, tf.int64))

    return make


@pytest.fixture(scope="session")
def asked_history():
    def make(dataset, queries, rows, length=20):
        return History(*map(tf.constant, histories(dataset.interactions, queries, rows, length)))

    return make
