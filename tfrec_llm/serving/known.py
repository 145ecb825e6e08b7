"""What is known of items and users beside events and texts, as parts of the signal path.

Of each modality that items have, the mean over the history becomes a token of the fusion, and how alike a candidate and
that mean are becomes a feature of the candidate. User attributes, where the domain turns them on, become a token.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrec_llm.serving.vocabulary import SmallVocabulary
from tfrec_llm.types import FIRST_ITEM, History, Tensor

COMPONENTS = 4  # leading numbers of an item's vector that are features of a candidate


class Reduction(NamedTuple):
    """The directions in which the vectors of some items differ most, for them and for others that come later."""

    centre: np.ndarray  # [D]
    directions: np.ndarray  # [D, dim], zero columns beyond what the vectors have
    length: float  # that becomes one

    @classmethod
    def of(cls, values: np.ndarray, present: np.ndarray, dim: int) -> "Reduction":
        """Those of a catalogue.

        Args:
          values: [N+2, D].
          present: [N+2] bool.
          dim: directions.
        """
        there = np.asarray(present, bool).copy()
        there[:FIRST_ITEM] = False
        directions = np.zeros((np.shape(values)[1], dim))
        if not there.any():
            return cls(np.zeros(len(directions)), directions, 1.0)
        known = np.asarray(values, np.float64)[there]
        centre = known.mean(axis=0)
        _, _, found = np.linalg.svd(known - centre, full_matrices=False)
        signs = np.sign(found[np.arange(len(found)), np.abs(found).argmax(axis=1)])
        found = (found * signs[:, None])[:dim].T
        directions[:, : found.shape[1]] = found
        length = float(np.sqrt((((known - centre) @ found) ** 2).sum(axis=1).mean()))
        return cls(centre, directions, max(length, 1e-9))

    def __call__(self, values: np.ndarray, present: np.ndarray) -> np.ndarray:
        """[M, D] and [M] bool -> [M, dim] float32; zero where absent."""
        found = (np.asarray(values, np.float64) - self.centre) @ self.directions / self.length
        return np.where(np.asarray(present, bool)[:, None], found, 0.0).astype(np.float32)


def reduced(values: np.ndarray, present: np.ndarray, dim: int) -> np.ndarray:
    """Items along the directions in which their vectors differ most.

    Args:
      values: [N+2, D].
      present: [N+2] bool.
      dim: directions; those beyond what the vectors have are zero.

    Returns:
      [N+2, dim] float32, centred over the present items and of mean square length one; zero where absent.
    """
    there = np.asarray(present, bool) & (np.arange(len(values)) >= FIRST_ITEM)
    return Reduction.of(values, there, dim)(values, there)


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
