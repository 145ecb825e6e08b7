import numpy as np

from tfrec_llm.config import Text
from tfrec_llm.text.classification.chosen import chosen_rows
from tfrec_llm.text.classification.tasks import Task

LABELS = ("negative", "neutral", "positive")


def task(targets):
    texts = ["好", "bad", "差", "fine", "中", "good"]
    split = ["train", "train", "validation", "validation", "test", "test"]
    return Task("sentiment", "sentiment", LABELS, np.array(texts), targets, np.array(split), np.full(6, "shop"))


def test_other_languages_are_tested_on_but_not_learnt():
    (kept,) = chosen_rows([task(np.array([2, 0, 0, 1, 1, 2]))], Text(train_languages=("zh",)))
    assert kept.texts.tolist() == ["好", "差", "中", "good"]
    assert kept.targets.tolist() == [2, 0, 1, 2]


def test_rows_with_an_ignored_label_go_from_every_split_and_the_label_stays_in_its_place():
    (kept,) = chosen_rows([task(np.array([2, 0, 0, 1, 1, 2]))], Text(ignore_labels=("neutral",)))
    assert kept.texts.tolist() == ["好", "bad", "差", "good"]
    assert kept.labels == LABELS


def test_several_labels_at_once():
    several = np.eye(3, dtype=bool)[[2, 0, 0, 1, 1, 2]]
    (kept,) = chosen_rows([task(several)], Text(ignore_labels=("neutral",)))
    assert kept.texts.tolist() == ["好", "bad", "差", "good"]


def test_a_task_without_training_rows_is_left_out_and_named(caplog):
    split, shop = np.array(["train", "test"]), np.array(["shop", "shop"])
    english = Task("a", "intent", ("x", "y"), np.array(["b", "c"]), np.array([0, 1]), split, shop)
    assert chosen_rows([english], Text(train_languages=("zh",))) == []
    assert "a has no training rows left" in caplog.text


def test_nothing_is_left_out_by_default():
    (kept,) = chosen_rows([task(np.zeros(6, int))], Text())
    assert len(kept.texts) == 6
