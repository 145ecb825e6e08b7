import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.text.classification.heads import Head
from tfrec_llm.text.classification.tasks import Task
from tfrec_llm.text.judging.judge import judge_head


def judged(targets, predicted, corpora, main):
    """Figures of a head that decides as told: it hands one-hot embeddings through."""
    rows, labels = len(targets), ("negative", "neutral", "positive")
    head = Head(3, 3)
    head.kernel.assign(tf.eye(3))
    texts, split = np.array([str(i) for i in range(rows)]), np.full(rows, "test")
    task = Task("sentiment", "sentiment", labels, texts, np.array(targets, np.int32), split, np.array(corpora))
    return judge_head(task, np.eye(3, dtype=np.float32)[predicted], head, main, seed=1)


def test_a_label_that_the_corpus_lacks_costs_recall_only():
    # negative: 1 of 1 decided, 1 of 2 found, F1 2/3; positive: 2 of 2 and 2 of 2, F1 1; neutral does not occur
    figures = judged([0, 0, 2, 2], [0, 1, 2, 2], ["books"] * 4, {"books": "sentiment"})
    assert figures["text.books.macro_f1"]["value"] == pytest.approx((2 / 3 + 1) / 2)
    assert figures["text.books.accuracy"]["value"] == 0.75


def test_each_corpus_has_figures_of_its_own_and_other_labels_say_their_name():
    main = {"books": "sentiment", "films": "intent"}
    figures = judged([0, 2, 0, 2], [0, 2, 0, 0], ["books", "books", "films", "films"], main)
    assert {name: (figures[name]["value"], figures[name]["n"]) for name in figures if name.endswith("accuracy")} == {
        "text.books.accuracy": (1.0, 2),
        "text.films.sentiment.accuracy": (0.5, 2),
    }
