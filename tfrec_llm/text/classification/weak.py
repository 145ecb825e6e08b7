"""Real texts for the emotion head, labelled by emotion words, and how far head and words agree on held-out texts.

No corpus at hand has sentences with emotions. Words label reviews and posts instead, and a label is believed only
where the sentiment that people gave the text fits it. Such rows are trained on, never judged on: what is reported is
how often two sources agree, which is not accuracy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfrec_llm import data
from tfrec_llm.config import Text
from tfrec_llm.data.texts import language_of
from tfrec_llm.text.classification.heads import Head
from tfrec_llm.text.classification.tasks import DOMAIN, Task

KEY = "text.emotion_weak.agreement"
WEAK = "emotion_weak"  # the corpus that such rows belong to


def with_weak_rows(tasks: Sequence[Task], settings: Text, seed: int) -> list[Task]:
    """The tasks, with training and validation rows for "emotion" from the texts of "sentiment".

    Args:
      tasks: "sentiment" has texts and what people felt in them.
      settings: `weak_rows`, so many of them at most; and `corpora`, whose texts are taken.
      seed: which rows are kept.

    Returns:
      The same tasks where there is nothing to add, or where people labelled any of the emotions that words name, as in
      a file of the user's.
    """
    by_name = {task.name: task for task in tasks}
    if not settings.weak_rows or "emotion" not in by_name or "sentiment" not in by_name:
        return list(tasks)
    emotion, reviews = by_name["emotion"], by_name["sentiment"]
    told = {emotion.labels[target] for target in np.unique(emotion.targets[emotion.corpus != DOMAIN])}
    if told & set(data.EMOTIONS):  # people labelled what words would only guess
        return list(tasks)
    rows = np.flatnonzero((reviews.split != "test") & np.isin(reviews.corpus, list(settings.corpora)))
    names = _named(reviews.texts[rows].tolist())
    felt = [reviews.labels[target] for target in reviews.targets[rows]]
    names = [_agreed(name, sentiment) for name, sentiment in zip(names, felt, strict=True)]
    kept = np.flatnonzero([name in emotion.labels for name in names])
    kept = np.sort(np.random.default_rng(seed).permutation(kept)[: settings.weak_rows])
    targets = np.array([emotion.labels.index(names[place]) for place in kept], emotion.targets.dtype)
    added = replace(
        emotion,
        texts=np.concatenate([emotion.texts, reviews.texts[rows[kept]]]),
        targets=np.concatenate([emotion.targets, targets]),
        split=np.concatenate([emotion.split, reviews.split[rows[kept]]]),
        corpus=np.concatenate([emotion.corpus, np.full(len(kept), WEAK)]),
    )
    return [added if task is emotion else task for task in tasks]


def _agreed(name: str, sentiment: str) -> str:
    """The emotion that words name, "" where the sentiment does not fit; a neutral text without words is neutral."""
    if not name:
        return "neutral" if sentiment == "neutral" else ""
    return name if data.SENTIMENT_OF.get(name, sentiment) == sentiment else ""


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
