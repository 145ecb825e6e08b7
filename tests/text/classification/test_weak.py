"""Emotions from words: rows for the head, and agreement, on invented word lists."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm import data
from tfrec_llm.config import Text
from tfrec_llm.text.classification import weak
from tfrec_llm.text.classification.heads import Head
from tfrec_llm.text.classification.tasks import DOMAIN, Task
from tfrec_llm.text.classification.weak import WEAK, weak_agreement, with_weak_rows

EMOTIONS = ("neutral", "joy", "anger")
NAMES = {"yay": "joy", "grr": "anger"}
SETTINGS = Text(corpora=("posts",), weak_rows=100)


@pytest.fixture(autouse=True)
def words(monkeypatch):
    def emotions(texts, language):
        named = [next((name for word, name in NAMES.items() if word in text), None) for text in texts]
        return np.array([data.EMOTIONS.index(name) if name else -1 for name in named], np.int32)

    monkeypatch.setattr(weak.data, "weak_emotion", emotions, raising=False)


def emotion_task(corpus=DOMAIN):
    return Task(
        "emotion", "emotion", EMOTIONS, np.array(["I feel fine"]), np.array([1], np.int32), np.array(["train"]),
        np.array([corpus]),
    )  # fmt: skip


def sentiment_task():
    rows = [
        ("yay it came", "positive", "train"),
        ("yay, broken", "negative", "train"),  # words and sentiment do not fit
        ("grr", "negative", "validation"),
        ("it is a box", "neutral", "train"),
        ("it is red", "positive", "train"),  # no word
        ("grr again", "negative", "test"),  # held out
    ]
    texts, felt, split = (np.array(column) for column in zip(*rows, strict=True))
    targets = np.array([data.SENTIMENTS.index(name) for name in felt], np.int32)
    return Task("sentiment", "sentiment", data.SENTIMENTS, texts, targets, split, np.full(len(rows), "posts"))


def test_rows_whose_words_and_sentiment_fit_are_learnt_from_and_none_is_a_test_row():
    emotion, sentiment = with_weak_rows([emotion_task(), sentiment_task()], SETTINGS, seed=1)
    added = emotion.corpus == WEAK
    assert emotion.texts[added].tolist() == ["yay it came", "grr", "it is a box"]
    assert [emotion.labels[target] for target in emotion.targets[added]] == ["joy", "anger", "neutral"]
    assert emotion.split[added].tolist() == ["train", "validation", "train"]
    assert sentiment.texts.shape == (6,)


def test_no_rows_where_a_file_labels_emotions_or_where_they_are_off():
    for tasks, settings in [
        ([emotion_task("files_served"), sentiment_task()], SETTINGS),
        ([emotion_task(), sentiment_task()], Text(corpora=("posts",), weak_rows=0)),
        ([emotion_task(), sentiment_task()], Text(corpora=())),
        ([emotion_task()], SETTINGS),
    ]:
        assert len(with_weak_rows(tasks, settings, seed=1)[0].texts) == 1


def test_a_file_with_emotions_of_its_own_alone_does_not_take_the_weak_rows_place():
    own = emotion_task("files_served")
    both = replace(own, labels=(*EMOTIONS, "pride"), targets=np.array([3], np.int32))
    assert len(with_weak_rows([both, sentiment_task()], SETTINGS, seed=1)[0].texts) == 4


def test_agreement_is_over_held_out_texts_with_words():
    head = Head(3, 3)
    head.kernel.assign(tf.eye(3))
    vectors = {"grr again": np.array([0, 0, 1], np.float32)}
    figure = weak_agreement([emotion_task(), sentiment_task()], vectors, {"emotion": head}, ("posts",))
    assert figure["text.emotion_weak.agreement"]["value"] == 1.0
    assert figure["text.emotion_weak.agreement"]["n"] == 1
