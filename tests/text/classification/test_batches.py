"""Texts with some labels -> batches."""

import numpy as np
import pytest

from tfrec_llm.text.classification.batches import MULTIPLE, LabelledTexts, batches
from tfrec_llm.text.classification.tasks import Task


def task(name: str, texts: list[str], targets: list, split: str = "train") -> Task:
    labels = ("a", "b", "c")
    many = np.array(targets, bool) if isinstance(targets[0], list) else np.array(targets, np.int32)
    rows = len(texts)
    return Task(name, "intent", labels, np.array(texts), many, np.full(rows, split), np.full(rows, "x"))


def labelled(class_weights: bool = False) -> LabelledTexts:
    tasks = [task("one", ["p", "q", "r"], [0, 0, 2]), task("many", ["q", "s"], [[1, 0, 1], [0, 0, 0]])]
    return LabelledTexts(tasks, "train", class_weights)


def test_a_text_of_two_tasks_is_one_row_and_what_is_unknown_is_masked():
    rows = labelled()
    assert rows.texts == ["p", "q", "r", "s"]
    assert rows.targets["one"].tolist() == [0, 0, 2, -1]
    assert rows.targets["many"].tolist() == [[-1] * 3, [1, 0, 1], [-1] * 3, [0, 0, 0]]
    assert rows.weights["one"].tolist() == [1, 1, 1, 0]


def test_rare_labels_weigh_more():
    weights = labelled(class_weights=True).weights["one"]
    assert weights[2] / weights[0] == pytest.approx(2**0.5)


def test_other_splits_are_left_out():
    assert len(LabelledTexts([task("one", ["p"], [1], "test")], "train", False)) == 0


def test_every_row_comes_once_with_its_own_labels():
    draw, size = np.random.default_rng(0), 100
    rows = LabelledTexts([task("one", [str(i) for i in range(size)], [i % 3 for i in range(size)])], "train", False)
    ids = [np.full(draw.integers(2, 30), i, np.int32) for i in range(size)]  # a text's ids are its number
    make, seen = batches(rows, lambda number: ids, 8, seed=1), []
    for batch in make(0):
        numbers, mask = batch["ids"].numpy()[:, 0], batch["mask"].numpy()
        assert batch["ids"].shape[1] % MULTIPLE == 0
        assert mask.sum(1).tolist() == [len(ids[i]) for i in numbers]
        assert batch["targets"]["one"].numpy().tolist() == [i % 3 for i in numbers]
        seen += numbers.tolist()
    assert sorted(seen) == list(range(size))
    again = [i for batch in make(0) for i in batch["ids"].numpy()[:, 0].tolist()]
    other = [i for batch in make(1) for i in batch["ids"].numpy()[:, 0].tolist()]
    assert seen == again != other
