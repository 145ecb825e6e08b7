"""Changed copies of training rows."""

import numpy as np

from tfrec_llm.config import Augment, Config, Text
from tfrec_llm.text.classification.copies import with_copies
from tfrec_llm.text.classification.tasks import Task

TEXTS = np.array(["one two three", "four five six", "seven"])
TASK = Task(
    "intent", "intent", ("a", "b"), TEXTS, np.array([0, 1, 1], np.int32), np.array(["train", "test", "train"]), TEXTS
)


def test_only_training_rows_that_changed_are_added_with_their_labels():
    task = with_copies(TASK, Config(text=Text(augment=Augment(swap=0.5, copies=2))))
    assert task.texts[:3].tolist() == TEXTS.tolist()
    assert [sorted(text.split()) for text in task.texts[3:]] == [["one", "three", "two"]] * 2
    assert task.targets.tolist() == [0, 1, 1, 0, 0]
    assert task.split.tolist() == ["train", "test", "train", "train", "train"]


def test_nothing_is_added_where_it_is_off():
    assert with_copies(TASK, Config()) is TASK
    assert with_copies(TASK, Config(text=Text(augment=Augment(swap=0.5, copies=0)))) is TASK
