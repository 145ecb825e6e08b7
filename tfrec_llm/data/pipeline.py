"""Training events as batches of sequences: cut, bucketed by length, shuffled per pass, prefetched.

The behaviour stage trains on these. A long sequence is cut into pieces that overlap by one step, so that every step
after a user's first is in exactly one piece after its opening, and the cuts move from pass to pass.
"""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfrec_llm.types import PADDING, Dataset, History, Pieces

AHEAD = 4  # batches that are made while one is trained on
EIGHTHS = (0.25, 0.5, 1, 2, 3, 4, 5, 6, 7, 8)  # lengths of batches, as shares of the longest


def training_sequences(dataset: Dataset, max_length: int, seed: int | None = None) -> History:
    """All training sequences as one array each.

    Args:
      dataset: only its training events are read.
      max_length: T, the most events of a piece.
      seed: moves the cuts; None cuts from each user's first event.

    Returns:
      [S, T] numpy arrays, padded on the right; pieces of one user in order. In a basket domain a piece holds whole
      steps; a step of T events or more is cut to its first T - 1.
    """
    events = _training_events(dataset)
    begin, end = _cut(dataset, events, max_length, None if seed is None else np.random.default_rng(seed))
    place = begin[:, None] + np.arange(max_length)  # [S, T]
    inside = place < end[:, None]
    return History(*(np.where(inside, v[np.where(inside, place, 0)], v.dtype.type(PADDING)) for v in events.history))


def sequence_batches(
    dataset: Dataset, max_length: int, batch_size: int, seed: int, pass_index: int = 0
) -> tf.data.Dataset:
    """One pass over the training sequences.

    Args:
      dataset: only its training events are read.
      max_length: T, the most events of a piece.
      batch_size: sequences of full length per batch; shorter ones come in larger batches of as many events.
      seed: of the shuffling and the cuts.
      pass_index: makes each pass different, and the same again after an interruption.

    Returns:
      Batches of Pieces, [B, L] with few different shapes; a bucket's last batch is filled up with empty rows.
    """
    return sequence_passes(dataset, max_length, batch_size, seed)(pass_index)


def sequence_passes(dataset: Dataset, max_length: int, batch_size: int, seed: int) -> Callable[[int], tf.data.Dataset]:
    """As `sequence_batches`, for training over many passes: the events are laid out once.

    Returns:
      A function from the number of the pass, from 0, to its batches.
    """
    events = _training_events(dataset)
    tensors = History(*(tf.constant(values) for values in events.history))
    lengths = sorted({max(2, math.ceil(max_length * share / 8)) for share in EIGHTHS})

    def one_pass(pass_index: int) -> tf.data.Dataset:
        generator = np.random.default_rng((seed, pass_index))
        begin, end = _cut(dataset, events, max_length, generator)
        batches = _group(end - begin, lengths, batch_size * max_length, generator)
        return _gather(tensors, begin, end, np.isin(begin, events.starts), batches)

    return one_pass


class _Events:
    """The training events of all users, and where each user's begin."""

    def __init__(self, dataset: Dataset):
        rows, log = dataset.split.train, dataset.interactions
        self.history = History(log.item[rows].astype(np.int32), log.event[rows].astype(np.int32), log.time[rows])
        user = log.user[rows]
        self.starts = np.flatnonzero(np.r_[True, user[1:] != user[:-1]]) if len(user) else np.zeros(0, np.int64)
        self.ends = np.r_[self.starts[1:], len(user)].astype(np.int64)


def _training_events(dataset: Dataset) -> _Events:
    if not dataset.split.train.any():
        raise ValueError("expected training events, got none: the split leaves nothing to learn from.")
    return _Events(dataset)


def _cut(dataset, events, max_length, generator):
    """[S] int64 first row and one past the last row of each piece."""
    if max_length < 2:
        raise ValueError(f"expected pieces of at least 2 events, got max_length={max_length}.")
    pieces = []
    for start, end in zip(events.starts, events.ends, strict=True):
        first = max_length
        if generator is not None and end - start > max_length:
            first = int(generator.integers(2, max_length + 1))
        borders = np.arange(start, end + 1)
        if dataset.domain.step == "basket":
            time = events.history.time[start:end]
            opens = np.r_[True, (time[1:] != time[:-1]) | (time[1:] == 0)]
            borders = np.r_[np.flatnonzero(opens) + start, end]
        pieces.extend(_cut_one(borders, first, max_length))
    begin, end = np.array(pieces, np.int64).T
    return begin, end


def _cut_one(borders, first, max_length):
    """Pieces (begin, end) of one user, whose steps begin at `borders[:-1]`; each piece opens with the step before."""
    pieces, step, room = [], 0, first
    last = len(borders) - 1
    while True:
        begin = borders[step]
        stop = int(np.searchsorted(borders, begin + room, side="right")) - 1  # steps before this one fit
        if stop >= min(step + 2, last):
            pieces.append((begin, borders[stop]))
        elif step + 1 == last:
            pieces.append((begin, begin + max_length))
        else:  # two steps are too long together: the newest events of the first, then the second
            stop = step + 2
            kept = min(borders[stop] - borders[step + 1], max_length - 1)
            opening = max(begin, borders[step + 1] + kept - max_length)
            pieces.append((opening, borders[step + 1] + kept))
        if stop >= last or step + 1 == last:
            return pieces
        step, room = stop - 1, max_length


def _group(sizes, lengths, budget, generator):
    """Batches as (piece numbers [B] with -1 for an empty row, length), in random order."""
    bucket = np.searchsorted(lengths, sizes)
    batches = []
    for number, length in enumerate(lengths):
        members = generator.permutation(np.flatnonzero(bucket == number))
        rows = min(max(1, budget // length), max(1, 8 * (budget // lengths[-1])))
        for i in range(0, len(members), rows):
            batch = members[i : i + rows]
            batches.append((np.pad(batch, (0, rows - len(batch)), constant_values=-1), length))
    return [batches[i] for i in generator.permutation(len(batches))]


def _gather(tensors, begin, end, first, batches) -> tf.data.Dataset:
    begin, end, first = np.r_[begin, 0], np.r_[end, 0], np.r_[first, False]  # piece -1, the last, is an empty row

    def batch(rows, length):
        rows = rows % len(begin)
        place = tf.gather(begin, rows)[:, None] + tf.range(length)  # [B, L]
        inside = place < tf.gather(end, rows)[:, None]
        place = tf.where(inside, place, 0)
        values = [tf.where(inside, tf.gather(v, place), tf.cast(PADDING, v.dtype)) for v in tensors]
        return Pieces(*values, tf.gather(first, rows))

    rows = tf.ragged.constant([rows for rows, _ in batches], dtype=tf.int64)
    lengths = np.array([length for _, length in batches], np.int64)
    order = tf.data.Dataset.from_tensor_slices((rows, lengths))
    dataset = order.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return dataset.apply(tf.data.experimental.assert_cardinality(len(batches))).prefetch(AHEAD)
