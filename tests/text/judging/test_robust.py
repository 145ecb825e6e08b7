"""Accuracy on spoilt test texts."""

import numpy as np
import tensorflow as tf

from tfrec_llm.data.augmentation import edits, word_lists
from tfrec_llm.text.classification.heads import Head
from tfrec_llm.text.classification.tasks import Task
from tfrec_llm.text.judging.robust import robustness_figures


def test_what_is_lost_by_other_words_is_counted(monkeypatch):
    # the encoder knows "film" and "song" only; with the other word for "film" half of the test rows get it wrong
    words = word_lists.make_list({"film": ("flick",)})
    monkeypatch.setattr(edits, "synonym_list", lambda language, use, wordnet="": words)
    texts = np.array(["see a film", "one film", "hear a song", "one song", "never asked", "nor this"])
    targets, split = np.array([0, 0, 1, 1, 0, 1], np.int32), np.array(["test"] * 4 + ["train"] * 2)
    task = Task("intent_own", "intent", ("watch", "listen"), texts, targets, split, np.full(6, "own"))
    head = Head(2, 2)
    head.kernel.assign(tf.eye(2))

    def encode(rows):
        return np.array([[1.0, 0.0] if "film" in row else [0.0, 1.0] for row in rows], np.float32)

    figures = robustness_figures([task], {"intent_own": head}, encode, {"own": "intent"}, seed=1)
    assert set(figures) == {"text.own.typos_accuracy", "text.own.synonyms_accuracy"}
    assert figures["text.own.synonyms_accuracy"]["value"] == 0.5
    assert figures["text.own.typos_accuracy"]["n"] == 4
    assert figures["text.own.synonyms_accuracy"]["split"] == "test"


def test_a_label_that_is_not_the_main_one_is_not_judged():
    task = Task(
        "e", "emotion", ("a", "b"), np.array(["x"]), np.zeros(1, np.int32), np.array(["test"]), np.array(["own"])
    )
    assert robustness_figures([task], {}, None, {"own": "intent"}, seed=1) == {}
