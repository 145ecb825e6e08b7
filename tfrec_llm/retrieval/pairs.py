"""Training pairs of the towers: (what a user did before, what came next), from training events only.

A window holds up to P consecutive targets of one user and the `context` events before them; the encoder encodes the
prefixes of all of them at once. Windows are cut on the flat event arrays inside the graph, so a pass needs no copies.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrec_llm.data.incidence import training_counts
from tfrec_llm.layers.unseen import seen_items
from tfrec_llm.types import Dataset, History, Tensor


class Pairs(NamedTuple):
    """One step's worth of windows."""

    history: History  # [S, T] events of each window, targets included: prefixes are cut by step
    target: Tensor  # [S, P] int32 positions in T of the targets, -1 padding
    negative: Tensor  # [S, U/S] int32 indices of items that were trained on, drawn uniformly, more candidates for all


class Windows(NamedTuple):
    """Where the windows lie in the flat arrays of training events."""

    begin: np.ndarray  # [G] first event
    first: np.ndarray  # [G] first target
    end: np.ndarray  # [G] one past the last target


def training_windows(user: np.ndarray, targets: int, context: int) -> Windows:
    """Cuts every user's events into groups of targets, so that every event is a target once.

    Args:
      user: [M] user of each event, sorted.
      targets: P, targets of a window at most.
      context: events before the first target that a window holds at most.
    """
    starts = np.flatnonzero(np.r_[True, user[1:] != user[:-1]]) if len(user) else np.zeros(0, np.int64)
    ends = np.r_[starts[1:], len(user)].astype(np.int64)[: len(starts)]
    groups = -(-(ends - starts) // targets)  # windows of each user
    owner = np.repeat(np.arange(len(starts)), groups)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(groups) - groups, groups)
    first = starts[owner] + place * targets
    return Windows(np.maximum(starts[owner], first - context), first, np.minimum(ends[owner], first + targets))


def pair_passes(
    dataset: Dataset, *, targets: int, context: int, batch_size: int, negatives: int, seed: int
) -> Callable[[int], tf.data.Dataset]:
    """Passes over all training pairs, each in another order.

    Args:
      dataset: events and split.
      targets: P, targets of a window at most.
      context: events before the first target that a window holds at most.
      batch_size: pairs of a step, about.
      negatives: U, items drawn uniformly for every step, rounded up to as many for each window.
      seed: orders the windows and draws the negatives.

    Returns:
      A function from the number of the pass, from 0, to its batches: Pairs with static shapes.

    Raises:
      ValueError: no training events.
    """
    events, keep = dataset.interactions, np.flatnonzero(dataset.split.train)
    if not len(keep):
        raise ValueError(f"retrieval: expected training events in {dataset.name!r}, got none; give it more data.")
    windows = training_windows(events.user[keep], targets, context)
    pairs_each = float(np.mean(windows.end - windows.first))
    batch = max(1, min(round(batch_size / pairs_each), len(windows.begin)))
    columns = (events.item[keep].astype(np.int32), events.event[keep].astype(np.int32), events.time[keep])
    columns = tuple(tf.constant(column) for column in columns)
    drawn = [batch, -(-negatives // batch)]
    known = tf.constant(np.flatnonzero(seen_items(training_counts(dataset))), tf.int32)  # no other is a wrong answer

    def cut(windows: Windows, draw: Tensor) -> Pairs:
        history, target = cut_windows(columns, windows, targets, context)
        place = tf.random.stateless_uniform(drawn, draw, 0, known.shape[0], tf.int32)
        return Pairs(history, target, tf.gather(known, place))

    def one_pass(index: int) -> tf.data.Dataset:
        generator = np.random.default_rng([seed, index])
        order = generator.permutation(len(windows.begin))
        steps = len(order) // batch
        draws = generator.integers(0, 2**31 - 1, [steps, 2], dtype=np.int32)
        shuffled = tf.data.Dataset.from_tensor_slices(Windows(*(column[order] for column in windows)))
        batches = tf.data.Dataset.zip(
            (shuffled.batch(batch, drop_remainder=True), tf.data.Dataset.from_tensor_slices(draws))
        )
        return batches.map(cut, num_parallel_calls=2, deterministic=True).prefetch(4)

    return one_pass


def cut_windows(columns: tuple, windows: Windows, targets: int, context: int) -> tuple[History, Tensor]:
    """Gathers windows from the flat event arrays.

    Args:
      columns: item, event, time of the training events, [M] each.
      windows: [S] each, tensors.
      targets: P.
      context: events before the first target.

    Returns:
      History [S, context + P], padded on the right, and target positions [S, P], -1 padding.
    """
    begin, first, end = windows
    rows = begin[:, tf.newaxis] + tf.range(context + targets, dtype=begin.dtype)  # [S, T]
    real = rows < end[:, tf.newaxis]  # [S, T]
    rows = tf.where(real, rows, 0)
    item, event, time = (tf.where(real, tf.gather(column, rows), 0) for column in columns)
    target = first[:, tf.newaxis] + tf.range(targets, dtype=begin.dtype)  # [S, P]
    place = tf.where(target < end[:, tf.newaxis], target - begin[:, tf.newaxis], -1)  # [S, P]
    return History(item, event, time), tf.cast(place, tf.int32)
