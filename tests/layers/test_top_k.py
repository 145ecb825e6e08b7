"""layers.top_k: exactness, exclusions, ties, too few items."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.layers.top_k import LOWEST, allowed_items, best_of, exact_top_k


def top(scores, exclude, k, shown=None):
    scores = np.asarray(scores, np.float32)
    shown = np.ones(scores.shape[1], bool) if shown is None else shown
    allowed = allowed_items(tf.constant(shown), tf.constant(exclude, tf.int32))
    return [t.numpy() for t in exact_top_k(tf.constant(scores), allowed, k)]


def test_rows_0_and_1_are_never_returned_and_ties_go_to_the_lower_index():
    ids, scores, allowed = top([[9, 9, 1, 3, 3, 2]], [[0]], 4)
    assert ids.tolist() == [[3, 4, 5, 2]]
    assert scores.tolist() == [[3, 3, 2, 1]]
    assert allowed.all()


def test_exclusions_lie_inside_so_that_k_items_come_back():
    ids, _, allowed = top([[0, 0, 5, 4, 3, 2]], [[2, 3]], 2)
    assert ids.tolist() == [[4, 5]]
    assert allowed.all()


def test_items_that_are_not_shown_stay_out():
    ids, _, _ = top([[0, 0, 5, 4, 3]], [[0]], 2, shown=np.array([True, True, False, True, True]))
    assert ids.tolist() == [[3, 4]]


def test_more_asked_than_there_are():
    ids, _, _ = top([[0, 0, 5, 4]], [[0]], 10)
    assert ids.tolist() == [[2, 3]]


def test_all_excluded():
    ids, scores, allowed = top([[0, 0, 5, 4]], [[2, 3]], 2)
    assert ids.tolist() == [[0, 0]]
    assert np.all(scores == np.float32(LOWEST))
    assert not allowed.any()


def test_indices_outside_the_table_exclude_nothing():
    ids, _, _ = top([[0, 0, 5, 4]], [[-3, 77]], 2)
    assert ids.tolist() == [[2, 3]]


def test_no_exclusions_at_all():
    ids, _, _ = top([[0, 0, 5, 4]], np.zeros([1, 0]), 1)
    assert ids.tolist() == [[2]]


def test_k_must_be_positive():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        top([[0, 0, 1]], [[0]], 0)


def test_the_same_under_xla_and_in_a_batch():
    rng = np.random.default_rng(0)
    scores, exclude = rng.normal(size=[7, 40]).astype(np.float32), rng.integers(0, 40, [7, 5]).astype(np.int32)
    shown = tf.constant(rng.random(40) < 0.8)

    def run(scores, exclude):
        return exact_top_k(scores, allowed_items(shown, exclude), 6)

    plain = run(tf.constant(scores), tf.constant(exclude))
    compiled = tf.function(run, jit_compile=True)(tf.constant(scores), tf.constant(exclude))
    for a, b in zip(plain, compiled, strict=True):
        np.testing.assert_array_equal(a, b)
    alone = run(tf.constant(scores[3:4]), tf.constant(exclude[3:4]))
    np.testing.assert_array_equal(alone[0][0], plain[0][3])


@pytest.mark.parametrize("width", [4_096, 5_001, 6_000])
@pytest.mark.parametrize("k", [1, 7, 30])
@pytest.mark.parametrize("values", [3, 10**6], ids=["ties", "none"])
def test_long_rows_are_searched_in_two_stages_with_the_same_answer(width, k, values):
    scores = np.random.default_rng(width + k).integers(0, values, [9, width]).astype(np.float32)
    scores[2] = -np.inf  # nothing may win
    scores[3, : width - k // 2] = -np.inf  # fewer than k may
    for one, other in zip(best_of(tf.constant(scores), k), tf.math.top_k(scores, k), strict=True):
        np.testing.assert_array_equal(one, other)


@settings(max_examples=60, deadline=None)
@given(
    scores=st.lists(st.integers(-50, 50), min_size=1, max_size=12),
    exclude=st.lists(st.integers(-2, 16), max_size=8),
    hidden=st.sets(st.integers(0, 13)),
    k=st.integers(1, 15),
)
def test_equals_sorting_what_is_left(scores, exclude, hidden, k):
    row = [100, 100, *scores]
    shown = np.array([i not in hidden for i in range(len(row))])
    left = [i for i in range(2, len(row)) if shown[i] and i not in exclude]
    want = sorted(left, key=lambda i: (-row[i], i))[:k]
    ids, values, allowed = top([row], [exclude], k, shown)
    assert ids.shape[1] == min(k, len(scores))
    assert ids[0, : len(want)].tolist() == want
    assert not ids[0, len(want) :].any()
    assert allowed[0].tolist() == [j < len(want) for j in range(ids.shape[1])]
    assert values[0, : len(want)].tolist() == [row[i] for i in want]
