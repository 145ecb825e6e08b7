"""None of these: how a head knows that a text has a label it never learnt, and how well that works.

The score of a text is the energy of its logits (Liu et al., 2020): high where the evidence for any label is. It tells
unseen intents apart better than the probability of the likeliest label does, which is high for whatever resembles one
label a little more than the rest. The threshold is chosen on validation rows of known labels alone, since nobody has
the utterances that will come. How well it works is measured on labels that a head has not learnt: their test rows ought
to score below those of the labels that it has.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tfrec_llm import metrics
from tfrec_llm.text.classification.tasks import Task

ALL = -1e9  # a threshold that every text passes
HELD_SHARE = 4  # one label in so many is not learnt where "none" is measured
LEAST_LABELS = 4  # with fewer, what is left after holding some out says little


def scope_scores(logits: np.ndarray) -> np.ndarray:
    """Evidence that a text has one of a head's labels: [R] from logits [R, labels], higher means more."""
    peak = logits.max(-1)
    return peak + np.log(np.exp(logits - peak[:, None]).sum(-1))


def scope_threshold(scores: np.ndarray, share: float) -> float:
    """The score below which a text has none of the labels.

    Args:
      scores: [R] of validation rows that do have one.
      share: of them that may fall below; 0 = none ever does, whatever comes.
    """
    if not len(scores) or share <= 0:
        return ALL
    return float(np.quantile(scores, share, method="lower"))


def scope_auroc(known: np.ndarray, unseen: np.ndarray) -> float:
    """Probability that a text with a known label scores above one with a label never seen; both [R] scores."""
    labels = np.repeat([True, False], [len(known), len(unseen)])
    return metrics.auroc(labels, np.concatenate([known, unseen]))


def held_labels(num_labels: int, seed: int, number: int = 0) -> np.ndarray:
    """Which labels are not learnt: a quarter of them, drawn by the seed, another quarter for each number.

    Args:
      num_labels: of the task.
      seed: of the draw.
      number: which of the disjoint draws, from 0 up; after all labels have been held it starts again.

    Returns:
      Sorted label numbers; none where there are fewer than four labels.
    """
    if num_labels < LEAST_LABELS:
        return np.zeros(0, np.int64)
    order, size = np.random.default_rng([seed, num_labels]).permutation(num_labels), num_labels // HELD_SHARE
    return np.sort(np.roll(order, -number * size)[:size])


def without_labels(task: Task, held: Sequence[int] | np.ndarray) -> Task:
    """A task as if some of its labels had never been heard of; their rows are left out of every split."""
    names = [name for place, name in enumerate(task.labels) if place not in set(np.asarray(held).tolist())]
    table = np.array([names.index(name) if name in names else -1 for name in task.labels], np.int32)
    rows = np.flatnonzero(table[task.targets] >= 0)
    columns = {name: getattr(task, name)[rows] for name in ("texts", "split", "corpus")}
    return replace(task, labels=tuple(names), targets=table[task.targets[rows]], **columns)
