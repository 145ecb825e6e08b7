"""Self-training (Scudder, 1965; Lee, 2013): a head labels texts, and learns again with the labels that it is sure of.

Believed rows are balanced over the labels, so that the commonest one does not swallow the rest, and only ever become
training rows: validation and test stay as people labelled them. Used after the heads are fitted.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import tensorflow as tf

from tfrec_llm.config import Config, Little
from tfrec_llm.text.classification.answers import Answers
from tfrec_llm.text.classification.fit import fit_answers, stage_part
from tfrec_llm.text.classification.tasks import PSEUDO, Task
from tfrec_llm.training import Stage


def believed(probabilities: np.ndarray, multi_label: bool, settings: Little) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose label is believed, and the labels.

    Args:
      probabilities: [R, labels], calibrated.
      multi_label: each label is decided on its own: a row counts where each of its decisions is sure.
      settings: confidence, and rows of one label at most.

    Returns:
      rows [M], and targets: [M] int32, or [M, labels] bool where multi-label.
    """
    if multi_label:
        sure, decided = np.maximum(probabilities, 1 - probabilities).min(1), probabilities > 0.5
        rows = np.flatnonzero((sure >= settings.confidence) & decided.any(1))
        groups = probabilities[rows].argmax(1)
    else:
        sure, decided = probabilities.max(1), probabilities.argmax(1).astype(np.int32)
        rows = np.flatnonzero(sure >= settings.confidence)
        groups = decided[rows]
    rows = _balanced(rows, groups, sure, settings.per_label)
    return rows, decided[rows]


def _balanced(rows: np.ndarray, groups: np.ndarray, sure: np.ndarray, most: int) -> np.ndarray:
    """Of each group equally many, the surest: as many as the group in the middle has, and `most` at most."""
    if not len(rows):
        return rows
    names, counts = np.unique(groups, return_counts=True)
    each = min(most, int(np.ceil(np.median(counts))))
    kept = [rows[groups == name] for name in names]
    return np.sort(np.concatenate([part[np.argsort(-sure[part], kind="stable")[:each]] for part in kept]))


def enlarged(task: Task, texts: Sequence[str], targets: np.ndarray) -> Task:
    """A task with more training rows."""
    more = len(texts)
    return replace(
        task,
        texts=np.concatenate([task.texts, np.array(texts, dtype=object)]),
        targets=np.concatenate([task.targets, targets.astype(task.targets.dtype)]),
        split=np.concatenate([task.split, np.full(more, "train")]),
        corpus=np.concatenate([task.corpus, np.full(more, PSEUDO)]),
    )


def self_train(
    task: Task,
    embeddings: np.ndarray,
    head: Answers,
    texts: Sequence[str],
    vectors: np.ndarray,
    config: Config,
    stage: Stage,
) -> tuple[Answers, int]:
    """Labels texts and learns again, round after round; the labels of a round are thrown away after it.

    Args:
      task: the rows that people labelled, and changed copies of them.
      embeddings: [R, D], one per row of the task.
      head: trained on them; an ensemble is followed by an ensemble.
      texts: [U] without labels.
      vectors: [U, D] their embeddings.
      config: section text, and the seed.
      stage: each round's checkpoints and logs go to folders of its own.

    Returns:
      The last head, and how many texts it believed; the head that came in where it believes none.
    """
    own = {str(text) for text in task.texts}
    free = np.array([row for row, text in enumerate(texts) if str(text) not in own], np.int64)
    count = 0
    for number in range(config.text.little.self_training):
        if not len(free):
            break
        probabilities = head.probabilities(tf.constant(vectors[free])).numpy()
        chosen, targets = believed(probabilities, task.multi_label, config.text.little)
        rows, count = free[chosen], len(chosen)
        if not count:
            break
        more = enlarged(task, [str(texts[row]) for row in rows], targets)
        part = stage_part(stage, f"self_training_{number + 1}")
        head = fit_answers(more, np.concatenate([embeddings, vectors[rows]]), config, part)
    return head, count
