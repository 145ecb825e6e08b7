import numpy as np
import pytest

from tfrec_llm.text.classification.scope import (
    ALL,
    held_labels,
    scope_auroc,
    scope_scores,
    scope_threshold,
    without_labels,
)
from tfrec_llm.text.classification.tasks import Task


def test_score_is_the_log_of_the_sum():
    np.testing.assert_allclose(scope_scores(np.log([[2.0, 1.0, 1.0], [0.1, 0.2, 0.2]])), np.log([4, 0.5]))
    assert scope_scores(np.array([[1e4, 0.0]])) == pytest.approx(1e4)  # no overflow


def test_threshold_lets_the_share_fall_below():
    scores = np.arange(1, 101) / 100
    threshold = scope_threshold(scores, 0.05)
    assert threshold == pytest.approx(0.05)
    assert (scores < threshold).sum() == 4  # at most the share


def test_no_share_and_no_rows_give_no_threshold():
    assert scope_threshold(np.array([0.4, 0.9]), 0.0) == ALL
    assert scope_threshold(np.zeros(0), 0.5) == ALL


def test_auroc_by_hand():
    # pairs known over unseen: .9 beats .3 and .6; .5 beats .3 alone: 3 of 4
    assert scope_auroc(np.array([0.9, 0.5]), np.array([0.3, 0.6])) == pytest.approx(0.75)


def test_held_labels_are_a_quarter_and_disjoint():
    draws = [held_labels(8, seed=3, number=number) for number in range(4)]
    assert all(len(draw) == 2 for draw in draws)
    assert np.array_equal(np.sort(np.concatenate(draws)), np.arange(8))
    assert np.array_equal(draws[0], held_labels(8, seed=3))
    assert not len(held_labels(3, seed=3))


def test_a_task_without_labels_knows_nothing_of_them():
    task = Task(
        "intent",
        "intent",
        ("a", "b", "c"),
        np.array(["1", "2", "3", "4"]),
        np.array([0, 1, 2, 1], np.int32),
        np.array(["train", "train", "test", "test"]),
        np.full(4, "files"),
    )
    left = without_labels(task, [1])
    assert left.labels == ("a", "c")
    assert left.texts.tolist() == ["1", "3"]
    assert left.targets.tolist() == [0, 1]
    assert left.split.tolist() == ["train", "test"]
