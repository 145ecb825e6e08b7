"""What is known of items and users beside events and texts, as parts of the signal path.

Of each modality that items have, the mean over the history becomes a token of the fusion, and how alike a candidate and
that mean are becomes a feature of the candidate. User attributes, where the domain turns them on, become a token.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfrec_llm.serving.vocabulary import SmallVocabulary
from tfrec_llm.types import FIRST_ITEM, History, Tensor

COMPONENTS = 4  # leading numbers of an item's vector that are features of a candidate


def reduced(values: np.ndarray, present: np.ndarray, dim: int) -> np.ndarray:
    """Items along the directions in which their vectors differ most.

    Args:
      values: [N+2, D].
      present: [N+2] bool.
      dim: directions; those beyond what the vectors have are zero.

    Returns:
      [N+2, dim] float32, centred over the present items and of mean square length one; zero where absent.
    """
    there = np.asarray(present, bool).copy()
    there[:FIRST_ITEM] = False
    table = np.zeros((len(values), dim), np.float32)
    if not there.any():
        return table
    centred = np.asarray(values, np.float64)[there]
    centred -= centred.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)])
    found = centred @ (directions * signs[:, None])[:dim].T
    table[there, : found.shape[1]] = found / max(float(np.sqrt((found**2).sum(axis=1).mean())), 1e-9)
    return table


class ItemModality(tf.Module):
    """One modality of the items.

    Args:
      table: [N+2, P] of `reduced`.
      present: [N+2] bool.
      name: e.g. "image".
    """

    def __init__(self, table: np.ndarray, present: np.ndarray, name: str):
        super().__init__(name=name)
        self.table = tf.Variable(table, trainable=False, name="table", dtype=tf.float32)
        self.present = tf.Variable(present, trainable=False, name="present", dtype=tf.bool)

    def token(self, history: History) -> tuple[Tensor, Tensor]:
        """The mean of the history's items that have it, [B, P], and whether any has, [B] bool."""
        there = tf.gather(self.present, history.item) & (history.item >= FIRST_ITEM)  # [B, T]
        weight = tf.cast(there, tf.float32)
        total = tf.einsum("bt,btp->bp", weight, tf.gather(self.table, history.item))
        return tf.math.divide_no_nan(total, tf.reduce_sum(weight, axis=1, keepdims=True)), tf.reduce_any(there, axis=1)

    def features(self, mean: Tensor, item_ids: Tensor) -> Tensor:
        """Of candidates: likeness to the history's mean (0 where either is unknown), and their leading numbers.

        Args:
          mean: [B, P] of `token`.
          item_ids: [B, K] item indices.

        Returns:
          [B, K, 1 + COMPONENTS or fewer].
        """
        vectors = tf.gather(self.table, item_ids)  # [B, K, P]
        alike = tf.einsum("bkp,bp->bk", tf.math.l2_normalize(vectors, -1), tf.math.l2_normalize(mean, -1))
        return tf.concat([alike[..., None], vectors[..., :COMPONENTS]], axis=-1)


class UserAttributes(tf.Module):
    """Attribute strings -> one column for each value that training users share, and one for all others.

    Args:
      values: attribute -> its values, in the order of the serving signature.
    """

    def __init__(self, values: Mapping[str, Sequence[str]]):
        super().__init__(name="user_attributes")
        self.names = tuple(values)
        self.tables = [SmallVocabulary(known) for known in values.values()]
        self._depths = [len(known) + FIRST_ITEM for known in values.values()]

    @property
    def width(self) -> int:
        """Number of columns."""
        return sum(self._depths) - len(self._depths)

    def __call__(self, attributes: Tensor) -> tuple[Tensor, Tensor]:
        """What is known of users.

        Args:
          attributes: [B, at least A] string in the order of the domain, "" where unknown.

        Returns:
          [B, width] zeros and ones, none of an attribute that is unknown, and [B] bool: any is known.
        """
        columns = [
            tf.one_hot(table.indices(attributes[:, place]), depth)[:, 1:]
            for place, (table, depth) in enumerate(zip(self.tables, self._depths, strict=True))
        ]
        return tf.concat(columns, axis=1), tf.reduce_any(attributes[:, : len(columns)] != "", axis=1)
