"""Texts and the labels that they have -> batches of like length for the classifier."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfrec_llm.text.classification.heads import row_weights
from tfrec_llm.text.classification.tasks import FILES, Task

WINDOW = 32  # batches whose texts are sorted by length together
MULTIPLE = 8  # lengths are padded to a multiple, so that few shapes occur
Texts = Callable[[int], Sequence[np.ndarray]]  # pass -> token ids of each text, without padding


class LabelledTexts:
    """Different texts of some tasks, each with what is known of it; a pass shows the rows `shown`, each once at first.

    Args:
      tasks: their rows of `split` are taken.
      split: "train" or "validation".
      class_weights: rare labels count more.
      soft: task -> answers of a teacher to its rows [R, labels].
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        split: str,
        class_weights: bool,
        soft: Mapping[str, np.ndarray] | None = None,
    ):
        rows = {task.name: np.flatnonzero(task.split == split) for task in tasks}
        every = [str(text) for task in tasks for text in task.texts[rows[task.name]]]
        self.texts = list(dict.fromkeys(every))
        place, self.targets, self.weights = {text: i for i, text in enumerate(self.texts)}, {}, {}
        self.soft: dict[str, np.ndarray] = {}
        self.own = np.zeros(len(self.texts), bool)  # of the user's own file
        self.shown = np.arange(len(self.texts))
        for task in tasks:
            at = np.array([place[str(text)] for text in task.texts[rows[task.name]]], np.int64)
            self.own[at] |= task.corpus[rows[task.name]] == FILES
            targets, weights = _columns(task, rows[task.name], class_weights)
            shape = (len(self.texts), *targets.shape[1:])
            self.targets[task.name] = np.full(shape, -1, targets.dtype)
            self.weights[task.name] = np.zeros(len(self.texts), np.float32)
            self.targets[task.name][at], self.weights[task.name][at] = targets, weights
            if soft and task.name in soft:
                self.soft[task.name] = np.full((len(self.texts), len(task.labels)), -1, np.float32)
                self.soft[task.name][at] = soft[task.name][rows[task.name]]

    def __len__(self) -> int:
        return len(self.texts)

    def repeat_own(self, times: int) -> None:
        """Shows each row of the user's own file so many times in a pass."""
        self.shown = np.concatenate([np.arange(len(self)), np.repeat(np.flatnonzero(self.own), times - 1)])


def _columns(task: Task, rows: np.ndarray, class_weights: bool) -> tuple[np.ndarray, np.ndarray]:
    targets, even = task.targets[rows], np.ones(len(rows), np.float32)
    if task.multi_label:
        return targets.astype(np.float32), even
    return targets.astype(np.int32), row_weights(targets, len(task.labels)) if class_weights and len(rows) else even


def batches(rows: LabelledTexts, tokens: Texts, batch_size: int, seed: int) -> Callable[[int], tf.data.Dataset]:
    """Pass number -> batches in an order of its own, as `MultiTaskModel` takes them.

    Args:
      rows: the texts.
      tokens: ids of the texts as they are in a pass, one array for each.
      batch_size: texts of a step; the last step may have fewer.
      seed: of the order.
    """

    def one_pass(number: int) -> tf.data.Dataset:
        ids = tokens(number)
        lengths = np.array([len(row) for row in ids])[rows.shown]
        order = rows.shown[_order(lengths, batch_size, np.random.default_rng([seed, number]))]
        ragged = tf.RaggedTensor.from_row_lengths(
            np.concatenate([ids[i] for i in order]).astype(np.int32), [len(ids[i]) for i in order]
        )
        columns = {
            "ids": ragged,
            "targets": {task: values[order] for task, values in rows.targets.items()},
            "weights": {task: values[order] for task, values in rows.weights.items()},
            "soft": {task: values[order] for task, values in rows.soft.items()},
        }
        return tf.data.Dataset.from_tensor_slices(columns).batch(batch_size).map(_padded).prefetch(2)

    return one_pass


def _order(lengths: np.ndarray, batch_size: int, draw: np.random.Generator) -> np.ndarray:
    """A permutation in which the texts of a batch are about equally long, and batches come in any order."""
    order = draw.permutation(len(lengths))
    window = batch_size * WINDOW
    parts = [
        part[np.argsort(lengths[part], kind="stable")] for part in np.split(order, range(window, len(order), window))
    ]
    whole = np.concatenate(parts)
    rest = len(whole) % batch_size
    last, full = whole[len(whole) - rest :], whole[: len(whole) - rest].reshape(-1, batch_size)
    return np.concatenate([full[draw.permutation(len(full))].reshape(-1), last])


def _padded(columns: Mapping) -> dict:
    ids = columns["ids"].to_tensor()
    ids = tf.pad(ids, [[0, 0], [0, -tf.shape(ids)[1] % MULTIPLE]])
    return {**columns, "ids": ids, "mask": tf.sequence_mask(columns["ids"].row_lengths(), tf.shape(ids)[1])}
