"""Training pairs of the towers: (what a user did before, what came next), from training events only.

A window holds up to P consecutive targets of one user and the `context` events before them; the encoder encodes the
prefixes of all of them at once. Windows are cut on the flat event arrays inside the graph, so a pass needs no copies;
those of a step have like lengths.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrec_llm.data.incidence import training_counts
from tfrec_llm.layers.unseen import seen_items
from tfrec_llm.retrieval.spoken import Spoken, Words, draw, silence
from tfrec_llm.types import Dataset, History, Tensor

NARROWEST = 8  # events: shorter windows are not told apart
FULL_STEPS = 8  # steps that a group of windows is good for at least, since what does not fill one is left out


class Pairs(NamedTuple):
    """One step's worth of windows."""

    history: History  # [S, T] events of each window, targets included: prefixes are cut by step
    target: Tensor  # [S, P] int32 positions in T of the targets, -1 padding
    negative: Tensor  # [S, U/S] int32 indices of items that were trained on, drawn uniformly, more candidates for all
    words: Words | None = None  # what is said in some of the pairs; None as an empty one: nothing


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
    dataset: Dataset,
    *,
    targets: int,
    context: int,
    batch_size: int,
    negatives: int,
    seed: int,
    spoken: Spoken | None = None,
    spoken_share: float = 0.0,
) -> Callable[[int], tf.data.Dataset]:
    """Passes over all training pairs, each in another order.

    Args:
      dataset: events and split.
      targets: P, targets of a window at most.
      context: events before the first target that a window holds at most.
      batch_size: pairs of a step, about.
      negatives: U, items drawn uniformly for every step, rounded up to as many for each window.
      seed: orders the windows and draws negatives and utterances.
      spoken: utterances to train with; None = all pairs are silent.
      spoken_share: share of the pairs that hear one.

    Returns:
      A function from the number of the pass, from 0, to its batches: Pairs of a few different shapes.

    Raises:
      ValueError: no training events.
    """
    events, keep = dataset.interactions, np.flatnonzero(dataset.split.train)
    if not len(keep):
        raise ValueError(f"retrieval: expected training events in {dataset.name!r}, got none; give it more data.")
    windows = training_windows(events.user[keep], targets, context)
    groups = group_windows(windows, batch_size)
    cut = _cutter(dataset, keep, windows, negatives, spoken, spoken_share)

    def one_pass(index: int) -> tf.data.Dataset:
        generator = np.random.default_rng([seed, index])
        steps = [(part, group) for group in groups for part in _whole_batches(group, generator)]
        steps = [steps[place] for place in generator.permutation(len(steps))]
        members = tf.RaggedTensor.from_row_lengths(
            np.concatenate([part for part, _ in steps]), [len(part) for part, _ in steps]
        )
        shapes = np.array([(group.targets, group.width) for _, group in steps], np.int32)
        keys = generator.integers(0, 2**31 - 1, [len(steps), 2], dtype=np.int32)
        batches = tf.data.Dataset.from_tensor_slices((members, shapes, keys))
        batches = batches.map(cut, num_parallel_calls=2, deterministic=True)
        return batches.apply(tf.data.experimental.assert_cardinality(len(steps))).prefetch(4)

    return one_pass


def _cutter(
    dataset: Dataset, keep: np.ndarray, windows: Windows, negatives: int, spoken: Spoken | None, share: float
) -> Callable[[Tensor, Tensor, Tensor], Pairs]:
    """A function in the graph: numbers of windows, (P, T) and a key of draws -> their pairs."""
    events = dataset.interactions
    columns = (events.item[keep].astype(np.int32), events.event[keep].astype(np.int32), events.time[keep])
    columns = tuple(tf.constant(column) for column in columns)
    places = Windows(*map(tf.constant, windows))
    known = tf.constant(np.flatnonzero(seen_items(training_counts(dataset))), tf.int32)  # no other is a wrong answer

    said = None if spoken is None else Spoken(*map(tf.constant, spoken))

    def cut(members: Tensor, shape: Tensor, key: Tensor) -> Pairs:
        chosen = Windows(*(tf.gather(column, members) for column in places))
        history, target = cut_windows(columns, chosen, shape[0], shape[1])
        size = tf.size(members)
        drawn = tf.stack([size, (negatives + size - 1) // size])
        place = tf.random.stateless_uniform(drawn, key, 0, known.shape[0], tf.int32)
        silent = Pairs(history, target, tf.gather(known, place), silence(size))
        return silent if said is None else silent._replace(words=draw(said, answers_of(silent), share, key + 1))

    return cut


def answers_of(pairs: Pairs) -> Tensor:
    """[S, P] the item that each pair asks for; any where it is padding."""
    return tf.gather(pairs.history.item, tf.maximum(pairs.target, 0), batch_dims=1)


class Group(NamedTuple):
    """Windows that are cut to one shape."""

    members: np.ndarray  # [M] numbers of the windows
    batch: int  # S, windows of a step, M at most
    targets: int  # P, of the window that has most
    width: int  # T, of the longest window


def group_windows(windows: Windows, batch_size: int) -> list[Group]:
    """Puts windows of like length together, so that the steps of short histories are not mostly padding.

    Args:
      windows: all of them.
      batch_size: pairs of a step, about.

    Returns:
      The groups, longest windows first. Each has enough pairs for `FULL_STEPS` steps, if there are so many at all: too
      few windows of a length join the longer ones, or the next shorter where there are none.
    """
    length, pairs = windows.end - windows.begin, windows.end - windows.first
    size = np.maximum(np.ceil(np.log2(length)), np.log2(NARROWEST))  # log2 of the power of two that holds it
    groups, waiting = [], np.zeros(0, np.int64)
    for power in np.unique(size)[::-1]:
        waiting = np.concatenate([waiting, np.flatnonzero(size == power)])
        if pairs[waiting].sum() >= FULL_STEPS * batch_size:
            groups.append(waiting)
        elif groups:
            groups[-1] = np.concatenate([groups[-1], waiting])
        else:
            continue
        waiting = waiting[:0]
    groups = groups or [waiting]
    return [_shaped(members, length, pairs, batch_size) for members in groups]


def _shaped(members: np.ndarray, length: np.ndarray, pairs: np.ndarray, batch_size: int) -> Group:
    batch = max(1, min(round(batch_size / float(pairs[members].mean())), len(members)))
    return Group(members, batch, int(pairs[members].max()), int(length[members].max()))


def _whole_batches(group: Group, generator: np.random.Generator) -> list[np.ndarray]:
    """The group's windows in a random order, cut into batches; what does not fill one waits for another pass."""
    order = generator.permutation(group.members)
    return list(order[: len(order) // group.batch * group.batch].reshape(-1, group.batch))


def cut_windows(columns: tuple, windows: Windows, targets: int, width: int) -> tuple[History, Tensor]:
    """Gathers windows from the flat event arrays.

    Args:
      columns: item, event, time of the training events, [M] each.
      windows: [S] each, tensors.
      targets: P, as many as any of them has.
      width: T, as many events as any of them has.

    Returns:
      History [S, T], padded on the right, and target positions [S, P], -1 padding.
    """
    begin, first, end = windows
    rows = begin[:, tf.newaxis] + tf.range(tf.cast(width, begin.dtype))  # [S, T]
    real = rows < end[:, tf.newaxis]  # [S, T]
    rows = tf.where(real, rows, 0)
    item, event, time = (tf.where(real, tf.gather(column, rows), 0) for column in columns)
    target = first[:, tf.newaxis] + tf.range(tf.cast(targets, begin.dtype))  # [S, P]
    place = tf.where(target < end[:, tf.newaxis], target - begin[:, tf.newaxis], -1)  # [S, P]
    return History(item, event, time), tf.cast(place, tf.int32)
