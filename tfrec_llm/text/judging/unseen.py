"""How well heads tell intents that they never learnt from those they did: `text.<corpus>.out_of_scope_auroc`.

Heads that `train` makes for this alone, beside a frozen encoder, learn from the labelled rows and take no part in
self-training: the unlabelled texts may hold the very intents that are to be unknown, and would teach them as others.
"""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfrec_llm.text.classification.answers import Answers
from tfrec_llm.text.classification.scope import held_labels, scope_auroc, without_labels
from tfrec_llm.text.classification.tasks import Task
from tfrec_llm.text.judging.judge import Figures, figure, strangers, test_rows

log = logging.getLogger(__name__)


def held_back(task: Task, seed: int) -> np.ndarray:
    """The labels that measure "none" in a task: a quarter of those that training and test have; none where few do.

    Args:
      task: only one of single intents is measured.
      seed: draws the labels.
    """
    if task.label != "intent" or task.multi_label:
        return np.zeros(0, np.int64)
    there = [np.unique(task.targets[task.split == split]) for split in ("train", "test")]
    both = np.intersect1d(*there)
    return both[held_labels(len(both), seed)]


def measured(tasks: Sequence[Task], seed: int) -> list[Task]:
    """The tasks whose intents measure "none", each without the labels that are held back."""
    return [without_labels(task, held) for task in tasks if len(held := held_back(task, seed))]


def without_held_back(tasks: Sequence[Task], seed: int) -> list[Task]:
    """All tasks; those whose intents measure "none" without the labels that are held back."""
    return [without_labels(task, held) if len(held := held_back(task, seed)) else task for task in tasks]


def unseen_figures(
    tasks: Sequence[Task],
    heads: Mapping[str, Answers],
    vectors: Mapping[str, np.ndarray],
    main: Mapping[str, str],
    seed: int,
) -> Figures:
    """AUROC of the evidence for known labels, over test rows of labels that a head learnt and of those held back.

    Args:
      tasks: with all their labels.
      heads: task -> a head that learnt none of the task's labels that `held_back` names.
      vectors: text -> its embedding [D].
      main: as of `judging.judge_head`.
      seed: that drew the labels.
    """
    figures: Figures = {}
    for task in tasks:
        held = held_back(task, seed)
        if not len(held) or task.name not in heads:
            continue
        for variant, rows in test_rows(task, main).items():
            unseen = np.isin(task.targets[rows], held)
            if unseen.any() and not unseen.all():
                scores = _evidence(heads[task.name], task, rows, vectors)
                value = scope_auroc(scores[~unseen], scores[unseen])
                figures[f"text.{variant}.out_of_scope_auroc"] = figure(value, len(rows), "test")
    return figures


def stranger_figures(
    tasks: Sequence[Task], heads: Mapping[str, Answers], vectors: Mapping[str, np.ndarray], main: Mapping[str, str]
) -> Figures:
    """How well intents without a training row are told from the others, where the test has such rows.

    Args:
      tasks: as the heads learnt them.
      heads: task -> its head.
      vectors: text -> its embedding [D].
      main: as of `judging.judge_head`.

    Returns:
      `out_of_scope_auroc`, of the evidence for known labels, and by the head's threshold `none_recall`, the share of
      such rows that are answered "none", and `false_none`, the share of the other test rows that are.
    """
    figures: Figures = {}
    for task in tasks:
        if task.label != "intent" or task.multi_label:
            continue
        known = test_rows(task, main)
        for variant, rows in strangers(task, main).items():
            head, others = heads[task.name], known.get(variant, rows[:0])
            unseen, seen = (_evidence(head, task, part, vectors) for part in (rows, others))
            threshold, count = float(head.threshold.numpy()), len(rows)
            log.info("text %s: %d test rows have an intent without a training row and count as unseen", variant, count)
            figures[f"text.{variant}.none_recall"] = figure(float(np.mean(unseen < threshold)), count, "test")
            if len(others):
                both = count + len(others)
                figures[f"text.{variant}.out_of_scope_auroc"] = figure(scope_auroc(seen, unseen), both, "test")
                figures[f"text.{variant}.false_none"] = figure(float(np.mean(seen < threshold)), len(others), "test")
    return figures


def _evidence(head: Answers, task: Task, rows: np.ndarray, vectors: Mapping[str, np.ndarray]) -> np.ndarray:
    """[rows] evidence for the labels of a head."""
    if not len(rows):
        return np.zeros(0, np.float32)
    return head.evidence(tf.constant(np.stack([vectors[str(text)] for text in task.texts[rows]]))).numpy()
