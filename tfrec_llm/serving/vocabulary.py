"""Ids as strings outside, as indices inside: the only place where the two meet in the exported graph."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfrec_llm.types import FIRST_ITEM, PADDING, UNKNOWN

VOCABULARY = "items.txt"  # under `assets/` of an export: one id a line


class ItemVocabulary(tf.Module):
    """Item id strings <-> item indices, as a table under `assets/` and one string variable.

    Args:
      item_ids: [N+2] strings, rows 0 and 1 are not items.
      path: where the table's text file is written, one id a line; the export copies it into `assets/`.
    """

    def __init__(self, item_ids: np.ndarray, path: Path):
        super().__init__(name="item_vocabulary")
        path.write_text("".join(f"{item_id}\n" for item_id in item_ids[FIRST_ITEM:]), encoding="utf-8")
        text_file = tf.lookup.TextFileInitializer(
            str(path),
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
            vocab_size=len(item_ids) - FIRST_ITEM,
        )
        self._table = tf.lookup.StaticHashTable(text_file, default_value=UNKNOWN - FIRST_ITEM)
        self._ids = tf.Variable(["", ""] + [str(i) for i in item_ids[FIRST_ITEM:]], trainable=False, name="item_ids")

    def some(self, count: int) -> list[str]:
        """The first ids of all."""
        return [name.decode("utf-8") for name in self._ids[FIRST_ITEM : FIRST_ITEM + count].numpy()]

    def indices(self, ids: tf.Tensor) -> tf.Tensor:
        """int32 item indices of id strings; "" is padding, a stranger is unknown."""
        found = tf.cast(self._table.lookup(ids), tf.int32) + FIRST_ITEM
        return tf.where(tf.equal(ids, ""), PADDING, found)

    def ids(self, indices: tf.Tensor) -> tf.Tensor:
        """Id strings of item indices; "" for padding and unknown."""
        return tf.gather(self._ids, indices)


class SmallVocabulary(tf.Module):
    """A few names <-> indices (event types), held in the graph.

    Args:
      names: index `FIRST_ITEM + i` stands for `names[i]`.
    """

    def __init__(self, names: Sequence[str]):
        super().__init__(name="small_vocabulary")
        keys = list(names) or [""]  # a table may not be empty, and "" is padding whatever it says
        indices = tf.range(FIRST_ITEM, FIRST_ITEM + len(keys), dtype=tf.int64)
        pairs = tf.lookup.KeyValueTensorInitializer(tf.constant(keys), indices)
        self._table = tf.lookup.StaticHashTable(pairs, default_value=UNKNOWN)

    def indices(self, names: tf.Tensor) -> tf.Tensor:
        """int32 indices of names; "" is padding, a stranger is unknown."""
        return tf.where(tf.equal(names, ""), PADDING, tf.cast(self._table.lookup(names), tf.int32))
