"""What each source of candidates counts in a row: by whether something was said, and by the length of the history."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tfrec_llm.types import PADDING, History, Tensor

LENGTHS = (1, 5, 20)  # events; histories below each of them get weights of their own


def row_weights(
    present: Mapping[str, Tensor | None], found: tuple[Tensor, Tensor], weights: Tensor, by_length: Tensor
) -> Tensor:
    """Weights of the sources in each row.

    Args:
      present: source with a query vector -> [B] bool; None: absent from every row.
      found: of `cases`.
      weights: [2, S], first the sources with a query vector; row 1 with an utterance.
      by_length: [3, S], on top, for histories shorter than each of LENGTHS.

    Returns:
      [B, S], 0 where the row lacks the source; linear in `weights` and `by_length`.
    """
    spoken, length = found
    always, rest = tf.ones_like(spoken, tf.bool), weights.shape[1] - len(present)
    there = [~always if given is None else given for given in present.values()] + [always] * rest
    # An empty history says nothing: popularity has there the weight of its length alone.
    silent = tf.concat([tf.ones([len(present)]), tf.zeros([rest])], 0)
    taken = tf.gather(tf.convert_to_tensor(weights), spoken)  # [B, S]
    taken *= tf.where((length > 0)[:, tf.newaxis], 1.0, silent)
    taken += tf.gather(tf.concat([by_length, tf.zeros_like(by_length[:1])], axis=0), length)
    return tf.where(tf.stack(there, axis=1), taken, 0.0)


def cases(has_text: Tensor | None, history: History) -> tuple[Tensor, Tensor]:
    """Which weights a row takes.

    Args:
      has_text: [B] bool; None: no row has an utterance.
      history: [B, T] each; its padding may stand anywhere.

    Returns:
      1 with an utterance, else 0; how many of LENGTHS the history reaches: [B] int32 each.
    """
    events = tf.reduce_sum(tf.cast(history.item != PADDING, tf.int32), axis=1)  # [B]
    length = tf.add_n([tf.cast(events >= least, tf.int32) for least in LENGTHS])
    return tf.zeros_like(length) if has_text is None else tf.cast(has_text, tf.int32), length


def strangers(popularity: int, sources: int) -> np.ndarray:
    """`by_length` that gives empty histories the popular items.

    Args:
      popularity: its place among the sources.
      sources: S.

    Returns:
      [3, S] float32.
    """
    found = np.zeros([len(LENGTHS), sources], np.float32)
    found[0, popularity] = 1
    return found
