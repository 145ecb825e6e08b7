"""Texts with some labels -> batches."""

import numpy as np
import pytest

from tfrec_llm.config import Text
from tfrec_llm.text.classification.batches import MULTIPLE, LabelledTexts, batches
from tfrec_llm.text.classification.joint import own_repeats
from tfrec_llm.text.classification.tasks import Task


def task(name: str, texts: list[str], targets: list, split: str = "train", corpus: str = "x") -> Task:
    labels = ("a", "b", "c")
    many = np.array(targets, bool) if isinstance(targets[0], list) else np.array(targets, np.int32)
    rows = len(texts)
    return Task(name, "intent", labels, np.array(texts), many, np.full(rows, split), np.full(rows, corpus))


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


def test_rows_of_the_users_file_are_repeated_within_a_pass_and_all_others_come_once():
    """Ten rows of the file, five of them known to another task too, beside ninety others."""
    others = task("one", [str(i) for i in range(5, 100)], [0] * 95)
    rows = LabelledTexts([task("own", [str(i) for i in range(10)], [1] * 10, corpus="files"), others], "train", False)
    assert rows.own.tolist() == [True] * 10 + [False] * 90
    rows.repeat_own(4)
    make = batches(rows, lambda number: [np.array([int(text), 7]) for text in rows.texts], 16, seed=1)
    seen = np.array([i for batch in make(0) for i in batch["ids"].numpy()[:, 0].tolist()])
    assert np.bincount(seen).tolist() == [4] * 10 + [1] * 90
    again = np.array([i for batch in make(1) for i in batch["ids"].numpy()[:, 0].tolist()])
    assert sorted(again) == sorted(seen)
    assert again.tolist() != seen.tolist()


def test_a_small_file_is_seen_about_as_often_as_if_it_were_alone():
    settings = Text(joint_epochs=3, joint_min_steps=600, joint_batch_size=32)
    # 770 rows are 25 steps, 24 passes for 600; 20,770 rows are 650 steps, which get 3: 24 / 3
    assert own_repeats(20_770, 770, settings) == 8
    assert own_repeats(20_070, 70, settings) == 10  # alone 200 passes: too much of the same
    assert own_repeats(770, 770, settings) == 1  # alone
    assert own_repeats(20_000, 0, settings) == 1  # no such file
    assert own_repeats(60_000, 40_000, settings) == 1
