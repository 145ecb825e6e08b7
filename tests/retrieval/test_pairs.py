"""retrieval.pairs: every training event is a target once, and nothing else is read."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.retrieval.pairs import Windows, cut_windows, group_windows, pair_passes, training_windows


def test_windows_by_hand():
    # user 0 has five events, user 1 has two; two targets a window, one event of context
    windows = training_windows(np.array([0, 0, 0, 0, 0, 1, 1]), targets=2, context=1)
    assert [column.tolist() for column in windows] == [[0, 1, 3, 5], [0, 2, 4, 5], [2, 4, 5, 7]]


def test_cut_by_hand():
    columns = tuple(tf.constant(c) for c in ([2, 3, 4, 5, 6], [2, 2, 2, 2, 2], [10, 20, 30, 40, 50]))
    windows = Windows(*(tf.constant(c, tf.int64) for c in ([1, 3], [2, 3], [4, 5])))
    history, target = cut_windows(columns, windows, targets=2, width=3)
    assert history.item.numpy().tolist() == [[3, 4, 5], [5, 6, 0]]
    assert history.time.numpy().tolist() == [[20, 30, 40], [40, 50, 0]]
    assert target.numpy().tolist() == [[1, 2], [0, 1]]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 5), st.integers(0, 4))
def test_every_event_is_a_target_once_with_its_own_users_past(lengths, targets, context):
    user = np.repeat(np.arange(len(lengths)), lengths)
    windows = training_windows(user, targets, context)
    asked = np.concatenate([np.arange(first, end) for _, first, end in zip(*windows, strict=True)])
    assert sorted(asked) == list(range(len(user)))
    for begin, first, end in zip(*windows, strict=True):
        assert len(set(user[begin:end])) == 1
        assert first - begin == min(context, first - np.searchsorted(user, user[first]))


def test_windows_of_like_length_come_together():
    length = np.array([3] * 200 + [30] * 100 + [12] * 2)  # two windows of twelve are too few for steps of their own
    end = np.cumsum(length)
    long, short = group_windows(Windows(end - length, end - 3, end), batch_size=30)
    assert (sorted(short.members), sorted(long.members)) == (list(range(200)), list(range(200, 302)))
    assert (short.batch, short.targets, short.width) == (10, 3, 3)
    assert (long.batch, long.targets, long.width) == (10, 3, 30)


def test_few_windows_are_one_group():
    (group,) = group_windows(training_windows(np.repeat([0, 1], [2, 60]), targets=16, context=100), batch_size=1024)
    assert (sorted(group.members), group.batch, group.targets, group.width) == (list(range(5)), 5, 16, 60)


def passes_of(dataset, **changes):
    return pair_passes(dataset, **{"targets": 4, "context": 3, "batch_size": 40, "negatives": 30, "seed": 5} | changes)


def test_a_pass_holds_training_events_only(world):
    dataset = world().dataset
    events, seen = dataset.interactions, []
    for history, target, negative, *_ in passes_of(dataset, batch_size=4)(0):
        assert negative.shape == [1, 30]
        assert 2 <= int(tf.reduce_min(negative)) <= int(tf.reduce_max(negative)) < 22
        rows = target.numpy() >= 0
        place = np.maximum(target.numpy(), 0)
        seen.extend(np.take_along_axis(history.time.numpy(), place, 1)[rows])
    assert sorted(seen) == sorted(events.time[dataset.split.train])


def test_passes_differ_and_repeat(world):
    make = passes_of(world().dataset)
    first, again, second = (np.concatenate([b.history.item for b in make(index)]) for index in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, second)


def test_no_training_events(world):
    dataset = world().dataset
    dataset.split.train[:] = False
    with pytest.raises(ValueError, match="expected training events in 'toy', got none"):
        passes_of(dataset)
