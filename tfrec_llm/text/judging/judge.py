"""Heads judged on each corpus that they learnt from: right answers, and probabilities that can be believed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfrec_llm import metrics
from tfrec_llm.text.classification.answers import EVEN
from tfrec_llm.text.classification.heads import Head
from tfrec_llm.text.classification.tasks import Task

RESAMPLES = 300  # of an interval
Figures = dict[str, dict[str, Any]]  # metric key -> value, ci95, over, n, split


def judge_head(task: Task, embeddings: np.ndarray, head: Head, main: Mapping[str, str], seed: int) -> Figures:
    """Figures on the test rows, corpus by corpus.

    Args:
      task: the rows.
      embeddings: [R, D], one per row.
      head: the trained head.
      main: corpus -> its main label, which gives the key `text.<corpus>.<metric>`; another label of the same corpus
        gives `text.<corpus>.<label>.<metric>`.
      seed: of the intervals.

    Returns:
      Accuracy and F1, and the expected calibration error with the head's temperature (`ece`) and without
      (`ece_uncalibrated`).
    """
    figures: Figures = {}
    for variant, rows in test_rows(task, main).items():
        vectors = tf.constant(embeddings[rows])
        probabilities, raw = head.probabilities(vectors).numpy(), head.raw_probabilities(vectors).numpy()
        figures |= judge_answers(task, variant, rows, head.decisions(probabilities), seed)
        for name, stated in (("ece", probabilities), ("ece_uncalibrated", raw)):
            error = calibration_error(stated, task.targets[rows])
            figures[f"text.{variant}.{name}"] = figure(error, len(rows), "test")
    return figures


def test_rows(task: Task, main: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Variant of the metric keys -> row numbers of the test rows of one corpus whose label could be learnt.

    Arguments as of `judge_head`.
    """
    return _by_corpus(task, (task.split == "test") & learnable(task), main)


def strangers(task: Task, main: Mapping[str, str]) -> dict[str, np.ndarray]:
    """As `test_rows`, of the test rows whose label no training row has: none of the labels that the head knows."""
    return _by_corpus(task, (task.split == "test") & ~learnable(task), main)


def learnable(task: Task) -> np.ndarray:
    """[R] bool: whether some training row has a row's intent; other labels, and several at once, always count."""
    learnt = task.targets[task.split == "train"]
    if task.label != "intent" or task.multi_label or not len(learnt):
        return np.ones(len(task.split), bool)
    return np.isin(task.targets, learnt)


def _by_corpus(task: Task, rows: np.ndarray, main: Mapping[str, str]) -> dict[str, np.ndarray]:
    found = {}
    for corpus in np.unique(task.corpus[rows]):
        variant = str(corpus) if main[corpus] == task.label else f"{corpus}.{task.label}"
        found[variant] = np.flatnonzero(rows & (task.corpus == corpus))
    return found


def judge_answers(task: Task, variant: str, rows: np.ndarray, predicted: np.ndarray, seed: int) -> Figures:
    """Accuracy and F1 of decisions about some rows of a task, [R] labels or [R, labels] bool, with intervals."""
    return {
        f"text.{variant}.{name}": _with_interval(measure, task.targets[rows], predicted, seed)
        for name, measure in measures(task).items()
    }


def measures(task: Task) -> dict[str, Any]:
    """What a task is judged by: name -> function of (targets, predictions)."""
    if task.multi_label:
        return {"micro_f1": metrics.micro_f1, "macro_f1": metrics.macro_f1, "accuracy": _all_right}
    return {"accuracy": metrics.accuracy, "macro_f1": _macro_f1}


def calibration_error(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Expected calibration error of decisions.

    Args:
      probabilities: [R, labels] as stated.
      targets: [R] label numbers: the likeliest label is the decision; or [R, labels] bool: each label is a decision of
        its own, and the probability of what was decided counts.
    """
    if targets.ndim == 2:
        right = (probabilities > EVEN) == targets
        return metrics.expected_calibration_error(right.reshape(-1), _sureness(probabilities).reshape(-1))
    right = probabilities.argmax(-1) == targets
    return metrics.expected_calibration_error(right, np.clip(probabilities.max(-1), 0, 1))


def figure(value: float, count: int, split: str) -> dict[str, Any]:
    """A figure without an interval, in the form of metrics.json."""
    return {"value": float(value), "ci95": None, "over": "users", "n": count, "split": split}


def _sureness(probabilities: np.ndarray) -> np.ndarray:
    return np.clip(np.maximum(probabilities, 1 - probabilities), 0, 1)


def _macro_f1(targets: np.ndarray, predicted: np.ndarray) -> float:
    """Mean F1 over the labels that the corpus has.

    A head that serves several corpora may decide for a label that this one lacks. That costs recall of the true label;
    as a class of its own, with an F1 of 0 whether chosen once or always, it would swamp the mean.
    """
    occurring = np.unique(targets)
    return metrics.macro_f1(targets[:, None] == occurring, predicted[:, None] == occurring)


def _all_right(targets: np.ndarray, predicted: np.ndarray) -> float:
    return float(np.mean((targets == predicted).all(1)))


def _with_interval(measure: Any, targets: np.ndarray, predicted: np.ndarray, seed: int) -> dict[str, Any]:
    draw, count = np.random.default_rng(seed), len(targets)
    samples = (draw.integers(0, count, count) for _ in range(RESAMPLES))
    low, high = np.quantile([measure(targets[rows], predicted[rows]) for rows in samples], [0.025, 0.975])
    interval = [float(low), float(high)]
    return {"value": measure(targets, predicted), "ci95": interval, "over": "users", "n": count, "split": "test"}
