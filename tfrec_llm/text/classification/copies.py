"""Changed copies of training rows for heads on frozen vectors, which can't read other words in each pass."""

from dataclasses import replace

import numpy as np

from tfrec_llm.config import Config
from tfrec_llm.data.augmentation import AUGMENTATIONS, augment
from tfrec_llm.data.texts import language_of
from tfrec_llm.text.classification.tasks import Task

COLUMNS = ("targets", "split", "corpus")


def with_copies(task: Task, config: Config) -> Task:
    """A task with changed copies of its training rows behind its rows, where an augmentation is on.

    Args:
      task: the rows.
      config: section text, and the seed.

    Returns:
      The task, with at most `augment.copies` more rows for each training row: copies that did not change are left out.
    """
    settings, train = config.text.augment, np.flatnonzero(task.split == "train")
    if not settings.copies or not any(getattr(settings, name) for name in AUGMENTATIONS):
        return task
    texts = [str(text) for text in task.texts[train]]
    languages, rows, changed = [language_of(text) for text in texts], [], []
    for copy in range(settings.copies):
        draw = np.random.default_rng([config.seed, copy, 2])
        copies = augment(texts, languages, replace(settings, share=1.0), draw)
        rows += [row for row, old, new in zip(train, texts, copies, strict=True) if new != old]
        changed += [new for old, new in zip(texts, copies, strict=True) if new != old]
    columns = {name: np.concatenate([getattr(task, name), getattr(task, name)[rows]]) for name in COLUMNS}
    return replace(task, texts=np.concatenate([task.texts, np.array(changed, dtype=object)]), **columns)
