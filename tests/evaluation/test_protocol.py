import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.data.incidence import history_rows
from tfrec_llm.evaluation import best, judge, select, top_items


def constant(scores):
    return lambda rows: np.tile(np.array(scores, np.float32), (len(rows), 1))


def test_padding_and_unknown_are_never_shown(make_dataset):
    dataset = make_dataset([[2]], [[3]], num_items=3)
    assert top_items(constant([9, 9, 0, 1, 2]), dataset, dataset.split.test, 2).tolist() == [[4, 3]]


@pytest.mark.parametrize(("repeat", "expected"), [(False, [4, 0, 0]), (True, [2, 3, 4])])
def test_items_that_the_user_has(make_dataset, repeat, expected):
    dataset = make_dataset([[2, 3, 2]], [[4]], num_items=3, repeat=repeat)
    assert top_items(constant([0, 0, 3, 2, 1]), dataset, dataset.split.test, 3).tolist() == [expected]


def test_items_that_may_not_be_shown_are_no_candidates(make_dataset):
    dataset = make_dataset([[2]], [[3]], num_items=3)
    catalogue = dataclasses.replace(dataset.catalogue, available=np.array([False, False, True, True, False]))
    dataset = dataclasses.replace(dataset, catalogue=catalogue)
    assert top_items(constant([0, 0, 3, 2, 1]), dataset, dataset.split.test, 3).tolist() == [[3, 0, 0]]


def test_the_answer_itself_is_a_candidate_though_its_event_follows(make_dataset):
    dataset = make_dataset([[2], [3]], [[3], [2]], num_items=2)
    assert top_items(constant([0, 0, 1, 1]), dataset, dataset.split.test, 1).tolist() == [[3], [2]]


def test_equal_scores_by_lower_index(make_dataset):
    dataset = make_dataset([[]], [[2]], num_items=6)
    assert top_items(constant([1] * 8), dataset, dataset.split.test, 4).tolist() == [[2, 3, 4, 5]]


def test_more_asked_than_there_is(make_dataset):
    dataset = make_dataset([[2]], [[3]], num_items=2)
    assert top_items(constant([0, 0, 1, 1]), dataset, dataset.split.test, 9).tolist() == [[3, 0, 0, 0, 0, 0, 0, 0, 0]]


def test_no_queries(make_dataset):
    dataset = make_dataset([[2]], [[3]], num_items=2)
    none = select(dataset.split.test, np.zeros(1, bool))
    assert top_items(constant([0, 0, 1, 1]), dataset, none, 5).shape == (0, 5)


def test_the_scorer_keeps_its_array(make_dataset):
    dataset = make_dataset([[2], [3]], [[3], [2]], num_items=2)
    scores = np.ones((2, 4), np.float32)
    top_items(lambda rows: scores[rows[0] : rows[-1] + 1], dataset, dataset.split.test, 1)
    assert (scores == 1).all()


@pytest.mark.parametrize("scores", [[0, 0, 1], [0, 0, 1, np.nan]])
def test_bad_scores_are_refused(make_dataset, scores):
    dataset = make_dataset([[2]], [[3]], num_items=2)
    with pytest.raises(ValueError, match=r"expected scores \[1, 4\] without nan"):
        top_items(constant(scores), dataset, dataset.split.test, 1)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_best_equals_a_full_sort(seed, k):
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 4, (3, 8)).astype(np.float32)  # many ties
    scores[generator.random((3, 8)) < 0.3] = -np.inf
    expected = np.zeros((3, k), int)
    for row, line in enumerate(scores):
        order = [column for column in np.argsort(-line, kind="stable") if np.isfinite(line[column])][:k]
        expected[row, : len(order)] = order
    np.testing.assert_array_equal(best(scores, k), expected)


def test_history_rows(make_queries):
    queries = make_queries([0, 1, 2], [0, 4, 4], [3, 4, 6], [[2], [2], [2]])
    position, event = history_rows(queries, np.array([2, 1, 0]))
    assert position.tolist() == [0, 0, 2, 2, 2]
    assert event.tolist() == [4, 5, 0, 1, 2]


def test_judge_by_hand(make_queries):
    queries = make_queries([0, 1], [0, 0], [0, 0], [[5], [3, 9]])
    found = judge(np.array([[4, 5, 6], [2, 7, 3]]), queries, k=2, recall_at=3)
    assert {name: values.tolist() for name, values in found.items()} == {
        "hr@2": [1.0, 0.0],
        "ndcg@2": [pytest.approx(1 / np.log2(3)), 0.0],
        "mrr@2": [0.5, 0.0],
        "recall@3": [1.0, 0.5],
    }


def test_select_rows_and_answers(make_queries):
    queries = make_queries([7, 8, 9], [0, 1, 2], [5, 6, 7], [[2, 3], [4], [3, 5, 2]])
    chosen = select(queries, np.array([2, 0]), keep=np.isin(np.arange(6), [2, 5]))
    assert chosen.user.tolist() == [9, 7]
    assert chosen.begin.tolist() == [2, 0]
    assert chosen.relevant.tolist() == [5, 2, 2]
    assert chosen.offsets.tolist() == [0, 2, 3]
    assert select(queries, np.array([False, True, False])).relevant.tolist() == [4]
