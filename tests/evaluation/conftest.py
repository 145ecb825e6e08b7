from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tfrec_llm.types import Catalogue, Dataset, Domain, Interactions, Queries, Split

Sequences = Sequence[Sequence[int]]


def queries_of(users, begin, end, relevant: Sequences) -> Queries:
    offsets = np.cumsum([0, *(len(items) for items in relevant)])
    flat = np.array([item for items in relevant for item in items], np.int32)
    times = np.array(end, np.int64)
    return Queries(np.array(users, np.int32), np.array(begin, np.int64), np.array(end, np.int64), times, flat, offsets)


def dataset_of(histories: Sequences, answers: Sequences, num_items: int, *, repeat=False, times=None) -> Dataset:
    """Each user's training history, then one event per answer; time = row unless given."""
    rows = [[*history, *answer] for history, answer in zip(histories, answers, strict=True)]
    length = np.array([len(row) for row in rows])
    user = np.repeat(np.arange(len(rows)), length).astype(np.int32)
    item = np.array([i for row in rows for i in row], np.int32)
    begin = np.cumsum(length) - length
    end = begin + [len(history) for history in histories]
    count = len(item)
    time = np.arange(count) if times is None else np.concatenate(times)
    ones = np.ones(count, np.float32)
    events = Interactions(
        user, item, time.astype(np.int64), np.full(count, 2, np.int32), ones, np.arange(len(rows)).astype(str)
    )
    names = np.array(["", "[unknown]", *(f"item {i}" for i in range(num_items))])
    shown = np.arange(num_items + 2) >= 2
    catalogue = Catalogue(names, names, names, {}, np.full(num_items + 2, np.nan, np.float32), shown)
    queries = queries_of(np.arange(len(rows)), begin, end, answers)
    train = np.arange(count) < end[user]
    nobody = np.zeros(len(rows), bool)
    split = Split(train, queries, nobody, nobody, queries)
    domain = Domain("toy", "event", repeat, ("watch",), {}, {}, (), (), (), False, (), {}, {}, {}, ())
    return Dataset("toy", domain, events, catalogue, split, {})


@pytest.fixture(name="make_dataset")
def _make_dataset() -> Callable[..., Dataset]:
    return dataset_of


@pytest.fixture(name="make_queries")
def _make_queries() -> Callable[..., Queries]:
    return queries_of
