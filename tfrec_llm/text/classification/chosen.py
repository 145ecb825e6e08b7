"""Which labelled rows are learnt from: languages that training keeps to, labels that are left out everywhere."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tfrec_llm.config import Text
from tfrec_llm.data.texts import language_of
from tfrec_llm.text.classification.tasks import Task

log = logging.getLogger(__name__)
COLUMNS = ("texts", "targets", "split", "corpus")


def chosen_rows(tasks: Sequence[Task], settings: Text) -> list[Task]:
    """The tasks without rows that the settings leave out.

    Args:
      tasks: all rows.
      settings: `train_languages`: training and validation rows of other languages go, so that test rows of a language
        that was never learnt show what carries over; `ignore_labels`: rows with one of these labels go, test rows too.

    Returns:
      Tasks that still have training rows; the others are named in the log.
    """
    result = []
    for task in tasks:
        kept = _without(task, settings.train_languages, settings.ignore_labels)
        if (kept.split == "train").any():
            result.append(kept)
        else:
            log.warning("text: %s has no training rows left by train_languages and ignore_labels.", task.name)
    return result


def _without(task: Task, languages: Sequence[str], ignored: Sequence[str]) -> Task:
    keep = np.ones(len(task.texts), bool)
    if languages:
        keep &= (task.split == "test") | np.isin([language_of(str(text)) for text in task.texts], languages)
    places = [place for place, name in enumerate(task.labels) if name in ignored]
    if places:
        keep &= ~(task.targets[:, places].any(1) if task.multi_label else np.isin(task.targets, places))
    return task if keep.all() else replace(task, **{name: getattr(task, name)[keep] for name in COLUMNS})
