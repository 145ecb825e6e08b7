"""A few rows of each label."""

import numpy as np

from tfrec_llm.text.classification.tasks import Task
from tfrec_llm.text.little.sampling import few_rows, left_out


def make(targets, split):
    texts = np.array([f"text {i}" for i in range(len(split))])
    return Task("intent", "intent", ("a", "b", "c"), texts, targets, np.array(split), np.full(len(split), "own"))


def test_so_many_of_each_label_all_test_rows_and_no_validation():
    targets = np.array([0] * 10 + [1] * 10 + [2] * 2 + [0, 1, 2], np.int32)
    task = make(targets, ["train"] * 22 + ["test", "validation", "test"])
    few = few_rows(task, 3, 1)
    assert np.bincount(few.targets[few.split == "train"]).tolist() == [3, 3, 2]
    assert few.texts[few.split == "test"].tolist() == ["text 22", "text 24"]
    assert "validation" not in few.split
    assert few_rows(task, 3, 1).texts.tolist() == few.texts.tolist()
    assert few_rows(task, 3, 2).texts.tolist() != few.texts.tolist()
    assert few_rows(task, 0, 1) is task


def test_a_row_counts_for_each_label_that_it_has():
    targets = np.array([[1, 1, 0]] * 4 + [[0, 0, 1]] * 4, bool)
    few = few_rows(make(targets, ["train"] * 8), 2, 1)
    assert few.targets.sum(0).tolist() == [2, 2, 2]


def test_what_is_left_out_has_no_test_text_and_none_that_is_learnt_from():
    task = make(np.array([0] * 6 + [1] * 6, np.int32), ["train"] * 10 + ["validation", "test"])
    few = few_rows(task, 2, 1)
    rest = left_out([task, task], [few, few])
    assert len(rest) == len(set(rest)) == 11 - 4
    assert not set(rest) & set(few.texts)
