"""How far the emotion head and a list of emotion words agree on real texts. Agreement of two guesses, not accuracy."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfrec_llm import data
from tfrec_llm.data.texts import language_of
from tfrec_llm.text.heads import Head
from tfrec_llm.text.tasks import Task

KEY = "text.emotion_weak.agreement"


def weak_agreement(
    tasks: Sequence[Task], vectors: Mapping[str, np.ndarray], heads: Mapping[str, Head], corpora: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The share of test reviews and posts in which both name the same emotion, where the words name one.

    Args:
      tasks: the head "emotion" has its labels from one, the texts come from the one about sentiment.
      vectors: text -> embedding.
      heads: trained heads by name.
      corpora: whose texts are looked at.

    Returns:
      One figure, or none where there are no such texts.
    """
    by_name = {task.name: task for task in tasks}
    if "emotion" not in heads or "sentiment" not in by_name:
        return {}
    reviews = by_name["sentiment"]
    texts = reviews.texts[(reviews.split == "test") & np.isin(reviews.corpus, list(corpora))].tolist()
    named = dict(zip(texts, _named(texts), strict=True))
    rows = [text for text in texts if named[text] in by_name["emotion"].labels]
    if not rows:
        return {}
    chosen = heads["emotion"].probabilities(tf.constant(np.stack([vectors[text] for text in rows]))).numpy().argmax(-1)
    agree = [by_name["emotion"].labels[place] == named[text] for place, text in zip(chosen, rows, strict=True)]
    return {KEY: {"value": float(np.mean(agree)), "ci95": None, "over": "users", "n": len(rows), "split": "test"}}


def _named(texts: Sequence[str]) -> list[str]:
    """The emotion that the words of each text name, "" where they name none."""
    languages, named = np.array([language_of(text) for text in texts]), np.full(len(texts), "", object)
    for language in np.unique(languages):
        rows = np.flatnonzero(languages == language)
        places = data.weak_emotion([texts[row] for row in rows], str(language))
        named[rows] = [data.EMOTIONS[place] if place >= 0 else "" for place in places]
    return named.tolist()
