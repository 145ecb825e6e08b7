"""Queries as requests: right answers as a padded array, also where a query has none."""

import numpy as np

from tfrec_llm.serving.questions import answers, first_relevant
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
