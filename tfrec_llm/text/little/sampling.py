"""A few training rows of each label, as if no more had been labelled. Used by `train` before anything is learnt."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tfrec_llm.text.classification.tasks import Task


def few_rows(task: Task, count: int, seed: int) -> Task:
    """A task with so many training rows of each label, and no validation rows: who has few labels has none to spare.

    Args:
      task: all rows.
      count: rows of each label; 0 = all rows stay.
      seed: of the draw.

    Returns:
      The drawn training rows and all test rows, in their order. Of a label with fewer rows all are taken; where several
      labels hold at once, a row that was drawn for one counts for each label that it has.
    """
    if not count:
        return task
    draw, train = np.random.default_rng(seed), np.flatnonzero(task.split == "train")
    targets = task.targets if task.multi_label else task.targets[:, None] == np.arange(len(task.labels))
    kept: set[int] = set()
    for label in range(len(task.labels)):
        rows = draw.permutation(train[targets[train, label]])
        missing = count - sum(1 for row in rows if row in kept)
        kept |= {int(row) for row in [row for row in rows if row not in kept][: max(0, missing)]}
    rows = np.sort(np.concatenate([np.array(sorted(kept), np.int64), np.flatnonzero(task.split == "test")]))
    columns = {name: getattr(task, name)[rows] for name in ("texts", "targets", "split", "corpus")}
    return replace(task, **columns)


def left_out(whole: Sequence[Task], few: Sequence[Task]) -> list[str]:
    """Distinct texts of rows that `few_rows` left out, as if nobody had labelled them; no test text is among them."""
    known = {str(text) for task in few for text in task.texts}
    rest = (str(text) for task in whole for text in task.texts[task.split != "test"])
    return [text for text in dict.fromkeys(rest) if text not in known]
