"""What a user says, in the towers: the utterances that they train with, and what one adds to a query.

The utterances are synthetic, each made for an item that is wanted (`data.synthesise`). A share of the training pairs is
asked a second time with one whose meaning fits the pair's answer, whoever it was made for.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrec_llm.types import Tensor


class Spoken(NamedTuple):
    """Embedded utterances: which an item may be asked for by.

    An item has some meanings, a meaning some utterances, whoever they were made for: with sentences that are an item's
    own, the layer learns which sentence is whose and nothing of what it means.
    """

    first: np.ndarray  # [N+2] place of an item's first meaning
    count: np.ndarray  # [N+2] how many it has, 0 = none
    begin: np.ndarray  # [M] row of a meaning's first utterance
    size: np.ndarray  # [M] how many it has
    vectors: np.ndarray  # [R, D] those of a meaning together


def speakers(counts: np.ndarray, rows: int, seed: int) -> np.ndarray:
    """Which items get an utterance to train with, one entry each.

    Args:
      counts: [N+2] training events of each item; those without any get none.
      rows: R, how many in all.
      seed: of the draw.

    Returns:
      [R] item indices, sorted: each about as often as the root of its count says, nothing where nothing was trained on.
    """
    weights = np.sqrt(np.maximum(counts, 0, dtype=np.float64))
    if not weights.sum():
        return np.zeros(0, np.int64)
    edges = np.cumsum(weights) / weights.sum()
    start = np.random.default_rng(seed).random()
    return np.minimum(np.searchsorted(edges, (np.arange(rows) + start) / rows, side="right"), len(counts) - 1)


def bank(items: np.ndarray, names: np.ndarray, vectors: np.ndarray, num_rows: int) -> Spoken:
    """Utterances by item and meaning.

    Args:
      items: [E] the item that each was made for.
      names: [E] str what each names; the same = the same meaning.
      vectors: [R, D] embeddings of the first R; the others say what an item means, in others' words if there are any.
      num_rows: N+2.
    """
    meanings, meaning, size = np.unique(names[: len(vectors)], return_inverse=True, return_counts=True)
    begin = np.cumsum(size) - size
    place = np.minimum(np.searchsorted(meanings, names), len(meanings) - 1)
    sayable = np.flatnonzero(meanings[place] == names)
    sayable = sayable[np.argsort(items[sayable], kind="stable")]
    count = np.bincount(items[sayable], minlength=num_rows)
    parts = np.cumsum(count) - count, count, begin[place[sayable]], size[place[sayable]]
    return Spoken(*(part.astype(np.int32) for part in parts), vectors[np.argsort(meaning, kind="stable")])


class Words(NamedTuple):
    """What is said in one step of training: in R different pairs of each window."""

    said: Tensor  # [S, R, D] embeddings
    place: Tensor  # [S, R] int32 which of the window's P pairs
    heard: Tensor  # [S, R] bool, False: nothing is said after all


def draw(spoken: Spoken, answers: Tensor, share: float, key: Tensor) -> Words:
    """An utterance for a share of a step's pairs.

    Args:
      spoken: the bank, as tensors.
      answers: [S, P] item indices.
      share: of the pairs.
      key: [2] int32, of the draw.
    """
    windows, pairs = tf.unstack(tf.shape(answers))
    wanted = share * tf.cast(pairs, tf.float32)  # of a window
    rows = tf.maximum(tf.cast(tf.math.ceil(wanted), tf.int32), 1)
    begin = tf.random.stateless_uniform([windows, 1], key, 0, pairs, tf.int32)
    place = (begin + tf.range(rows) * (pairs // rows)) % pairs  # [S, R], all different
    asked = tf.random.stateless_uniform([windows, rows], key + 3) * tf.cast(rows, tf.float32) < wanted
    item = tf.gather(answers, place, batch_dims=1)
    count = tf.gather(spoken.count, item)
    means = tf.where(count > 0, tf.gather(spoken.first, item) + _below(count, key + 1), 0)
    row = tf.gather(spoken.begin, means) + _below(tf.gather(spoken.size, means), key + 2)
    return Words(tf.gather(spoken.vectors, row), place, asked & (count > 0))


def _below(count: Tensor, key: Tensor) -> Tensor:
    """A number from 0 to below each count, 0 where that is none."""
    drawn = tf.random.stateless_uniform(tf.shape(count), key) * tf.cast(count, tf.float32)
    return tf.maximum(tf.minimum(tf.cast(drawn, tf.int32), count - 1), 0)  # a product may round up to the count


def silence(windows: Tensor) -> Words:
    """A step of S windows in which nothing is said."""
    return Words(tf.zeros([windows, 0, 0]), tf.zeros([windows, 0], tf.int32), tf.zeros([windows, 0], tf.bool))


class Heard(tf.keras.layers.Layer):
    """Query and utterance -> query: what both say together is added, nothing at first.

    Args:
      hidden: width of the hidden layer over both; a wide one learns the words of training and not what they mean.
      dropout: share of its units left out in training.
    """

    def __init__(self, hidden: int = 16, dropout: float = 0.0, **kwargs):
        super().__init__(autocast=False, **kwargs)  # half precision would lose what tells sentences apart
        self.hidden, self.dropout = hidden, dropout
        self._drop = tf.keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def build(self, input_shape):
        """Makes the layers for [queries [..., Q], utterances [..., D]]."""
        query, said = (int(shape[-1]) for shape in input_shape)
        keras, policy = tf.keras.layers, self.dtype_policy
        start = {"dtype": "float32", "trainable": False, "experimental_autocast": False}
        self.centre = self.add_weight("centre", [said], initializer="zeros", **start)
        self.scale = self.add_weight("scale", [], initializer="ones", **start)
        self._both = keras.Dense(self.hidden, activation="gelu", name="both", dtype=policy)
        self._both.build([None, query + said])
        self._out = keras.Dense(query, kernel_initializer="zeros", use_bias=False, name="out", dtype=policy)
        self._out.build([None, self.hidden])
        super().build(input_shape)

    def adapt(self, vectors: np.ndarray) -> None:
        """Puts the middle and the size of utterances [R, D] right: encoders put all sentences into a narrow cone."""
        centre = vectors.mean(axis=0)
        self.centre.assign(centre)
        self.scale.assign(1.0 / max(float(np.sqrt(np.square(vectors - centre).mean())), 1e-6))

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], heard: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Queries as they are with what was said.

        Args:
          inputs: queries [..., Q] and embeddings [..., D].
          heard: [...] bool, whether anything was said.
          training: whether dropout is on.

        Returns:
          [..., Q].
        """
        query, said = inputs
        said = (tf.cast(said, tf.float32) - self.centre) * self.scale
        both = tf.concat([query, tf.cast(said, query.dtype)], axis=-1)  # of unit size by now
        added = self._out(self._drop(self._both(both), training=training))
        return query + tf.where(heard[..., tf.newaxis], tf.cast(added, query.dtype), tf.zeros([], query.dtype))

    def get_config(self) -> dict:
        """Keras: what rebuilds this layer."""
        return super().get_config() | {"hidden": self.hidden, "dropout": self.dropout}
