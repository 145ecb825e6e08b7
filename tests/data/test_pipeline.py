"""Training sequences: every event a target once, whole steps, the same batches from the same seed."""

import collections

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.data import pipeline
from tfrec_llm.types import Catalogue, Dataset, Domain, Interactions, Queries, Split


def dataset_of(lengths, step="event", time=None, train=None) -> Dataset:
    """Users with so many events; event r is of item r + 2 at second r + 1 unless times are given."""
    size = int(np.sum(lengths))
    rows = np.arange(size)
    user = np.repeat(np.arange(len(lengths)), lengths).astype(np.int32)
    time = rows + 1 if time is None else np.asarray(time)
    log = Interactions(user, (rows + 2).astype(np.int32), time.astype(np.int64), np.full(size, 2, np.int32), rows, rows)
    none = Queries(*[np.zeros(0, np.int64)] * 6)
    train = np.ones(size, bool) if train is None else np.asarray(train)
    split = Split(train, none, np.zeros(0, bool), np.zeros(0, bool), none)
    domain = Domain("toy", step, True, ("seen",), {}, {}, (), (), (), False, (), {}, {}, {}, ())
    names = np.array([""] * (size + 2))
    return Dataset("toy", domain, log, Catalogue(names, names, names, {}, names, names), split, {})


def pieces(history):
    return [row[row > 0].tolist() for row in np.asarray(history.item)]


def targets(rows):
    return collections.Counter(item for row in rows for item in row[1:])


def test_short_sequences_stay_whole():
    got = pipeline.training_sequences(dataset_of([3, 1, 4]), 5)
    assert pieces(got) == [[2, 3, 4], [5], [6, 7, 8, 9]]
    assert got.item.shape == (3, 5)
    assert got.time[0].tolist() == [1, 2, 3, 0, 0]
    assert got.event[1].tolist() == [2, 0, 0, 0, 0]


def test_long_sequences_overlap_by_one_event():
    got = pieces(pipeline.training_sequences(dataset_of([8]), 4))
    assert got == [[2, 3, 4, 5], [5, 6, 7, 8], [8, 9]]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(2, 9), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_every_event_after_the_first_is_a_target_once(lengths, longest, seed):
    data = dataset_of(lengths)
    rows = pieces(pipeline.training_sequences(data, longest, seed))
    firsts = set(np.cumsum([0, *lengths[:-1]]) + 2)
    assert max(map(len, rows)) <= longest
    assert targets(rows) == dict.fromkeys(set(range(2, sum(lengths) + 2)) - firsts, 1)


def test_only_training_events():
    train = [True, True, False, True, True, True, False, False]
    assert pieces(pipeline.training_sequences(dataset_of([4, 4], train=train), 9)) == [[2, 3, 5], [6, 7]]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_pieces_hold_whole_steps(sizes, seed):
    time = np.repeat(np.arange(len(sizes)) + 1, sizes)
    got = pipeline.training_sequences(dataset_of([len(time)], "basket", time), 9, seed)
    steps = [tuple(dict.fromkeys(row[row > 0].tolist())) for row in got.time]
    ends = [(row[0], row[-1]) for row in pieces(got)]
    for step, (first, last) in zip(steps, ends, strict=True):
        assert first - 2 == np.flatnonzero(time == step[0])[0]
        assert last - 2 == np.flatnonzero(time == step[-1])[-1]
    assert [step for row in steps for step in row[1:]] == list(range(2, len(sizes) + 1))


def test_a_step_of_the_whole_length_is_cut():
    time = [1, 1, 1] + [2] * 6 + [3]
    got = pieces(pipeline.training_sequences(dataset_of([10], "basket", time), 4))
    assert got == [[4, 5, 6, 7], [8, 9, 10, 11]]


def batches(data, seed=1, pass_index=0, batch_size=2):
    return [b.item.numpy() for b in pipeline.sequence_batches(data, 16, batch_size, seed, pass_index)]


def test_batches_hold_every_piece_and_little_padding():
    data = dataset_of([16, 3, 2, 40, 9, 1, 5])
    got = batches(data)
    flat = [row[row > 0].tolist() for batch in got for row in batch]
    assert targets(flat) == targets(pieces(pipeline.training_sequences(data, 16)))
    for batch in got:
        assert batch.shape[1] - (batch > 0).sum(axis=1).max() < 2  # lengths are even numbers here
        assert batch.size <= 2 * 16


def test_pieces_know_where_their_user_begins():
    data = dataset_of([16, 3, 40, 20])
    starts = {2, 18, 21, 61}
    for batch in pipeline.sequence_batches(data, 16, 2, 1):
        opens = batch.item.numpy()[:, 0]
        assert batch.first.numpy().tolist() == [int(item) in starts for item in opens]


def test_shapes_are_few():
    generator = np.random.default_rng(0)
    got = batches(dataset_of(generator.integers(2, 60, 200)))
    assert len({batch.shape for batch in got}) <= len(pipeline.EIGHTHS)


def test_a_pass_is_a_function_of_seed_and_number():
    data = dataset_of(np.random.default_rng(0).integers(2, 60, 30))
    first, again, later, other = (batches(data, *key) for key in ((1, 0), (1, 0), (1, 1), (2, 0)))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    for different in (later, other):
        assert any(a.shape != b.shape or (a != b).any() for a, b in zip(first, different, strict=False))


def test_cardinality_is_known():
    data = dataset_of([16, 3, 2, 40, 9, 1, 5])
    assert int(pipeline.sequence_batches(data, 16, 2, 1).cardinality()) == len(batches(data))


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(ValueError, match="expected training events, got none"):
        pipeline.training_sequences(dataset_of([3], train=[False] * 3), 5)
    with pytest.raises(ValueError, match="max_length=1"):
        pipeline.training_sequences(dataset_of([3]), 1)
