"""Queries as requests: right answers as a padded array, also where a query has none."""

import numpy as np
import pytest

from tests.behaviour.worlds import chain, dataset_of
from tfrec_llm.serving.questions import answers, first_relevant, history_tensors
from tfrec_llm.types import Queries


def queries(relevant, offsets):
    count = len(offsets) - 1
    rows = np.zeros(count, np.int64)
    return Queries(rows, rows, rows, rows, np.array(relevant, np.int32), np.array(offsets, np.int64))


def test_answers_are_padded_and_a_query_without_any_has_none():
    asked = queries([5, 6, 7], [0, 2, 2, 3, 3])
    assert answers(asked, np.arange(4)).tolist() == [[5, 6], [0, 0], [7, 0], [0, 0]]
    assert first_relevant(asked, np.array([3, 2, 1, 0])).tolist() == [0, 7, 0, 5]


def test_no_answers_at_all():
    assert answers(queries([], [0, 0]), np.arange(1)).tolist() == [[0]]
    assert first_relevant(queries([], [0, 0]), np.zeros(0, int)).tolist() == []


@pytest.mark.parametrize(
    ("events", "most", "width"), [(6, 200, 8), (11, 200, 16), (18, 200, 16), (19, 200, 32), (40, 20, 20)]
)
def test_histories_are_as_wide_as_the_longest_needs(events, most, width):
    dataset = dataset_of(chain(4, events, 9), 9)
    validation = dataset.split.validation  # asked after all events but the last two
    history, time = history_tensors(dataset, validation, np.arange(4), most)
    assert history.item.shape == (4, width)
    kept = min(events - 2, most)
    for row in range(4):
        whole = dataset.interactions.item[validation.begin[row] : validation.end[row]]
        np.testing.assert_array_equal(history.item[row, :kept], whole[-kept:])
        assert not history.item[row, kept:].numpy().any()
    np.testing.assert_array_equal(time, validation.time)
