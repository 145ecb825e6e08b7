"""Turns a learnt blend towards the first places: the softmax over all items hears them all, a list shows ten.

In a large catalogue, and where whole baskets are the answer, cross entropy spends its few weights on what stands far
down. So each source's common weight gets a factor, found by climbing the NDCG@10 of the rows over a shortlist of
each. The factors are cross-fitted: those that half of the rows finds must gain on the other half, or the weights stay.
Used by `blend`.
"""

import logging
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrec_llm.layers.top_k import exact_top_k
from tfrec_llm.retrieval.candidates import CandidateSource
from tfrec_llm.retrieval.moments import DEPTH, MAX_CELLS, MAX_ROWS, BlendBatch, targets_of

WIDE = 60  # first items of the blend, and of each source, that are on a row's shortlist
FACTORS = (0.0, 0.5, 0.7, 0.85, 1.2, 1.5, 2.0, 3.0)  # that a weight is tried with, again and again
ROUNDS = 4  # through all sources at most
ROWS, FEW = 3000, 40  # rows that are read at most, and with fewer of them nothing is changed
LEAST = 2e-4  # of NDCG: a smaller step is not taken
ERRORS = 2.0  # standard errors by which what one half found must gain on the other: with one, a shop's blend lost by it
_log = logging.getLogger(__name__)
_DISCOUNTS = 1 / np.log2(np.arange(2, DEPTH + 2))
_IDEAL = np.concatenate([[0.0], np.cumsum(_DISCOUNTS)])


class Shortlists(NamedTuple):
    """What the first places of some rows may be made of."""

    fixed: np.ndarray  # [R, C] what the weights of a history's length bring, -inf where there is no candidate
    parts: np.ndarray  # [R, C, S] what each source's common weight brings
    right: np.ndarray  # [R, C] bool, the answers
    answers: np.ndarray  # [R] how many there are, at most DEPTH


def first_place_factors(
    source: CandidateSource, rows: BlendBatch, places: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """What the common weights of each source are to be multiplied by.

    Args:
      source: with its learnt weights.
      rows: all rows, as arrays.
      places: rows that may be read; `ROWS` of them are drawn where there are more.
      generator: draws rows and halves.

    Returns:
      [S] factors of at least 0; ones where nothing is to be gained for sure.
    """
    found = shortlists(source, rows, generator.permutation(places)[:ROWS])
    count, sources = found.fixed.shape[0], found.parts.shape[2]
    if count < FEW:
        return np.ones(sources)
    halves, gain = generator.permutation(count), np.zeros(count)
    for own, other in ((halves[::2], halves[1::2]), (halves[1::2], halves[::2])):
        factors, judged = climb(_taken(found, own)), _taken(found, other)
        gain[other] = ndcg(judged, factors) - ndcg(judged, np.ones(sources))
    error = gain.std(ddof=1) / np.sqrt(count)
    _log.info("blend: turned towards the first places: ndcg@10 %+.4f, standard error %.4f", gain.mean(), error)
    if gain.mean() <= ERRORS * error:
        return np.ones(sources)
    return climb(found)


def climb(found: Shortlists) -> np.ndarray:
    """[S] factors: one source after the other takes the one that lifts the mean NDCG most, until none does."""
    factors = np.ones(found.parts.shape[2])
    best = ndcg(found, factors).mean()
    for _ in range(ROUNDS):
        before = best
        for place in range(len(factors)):
            tried = np.repeat(factors[None], len(FACTORS), axis=0)
            tried[:, place] *= FACTORS
            gains = [ndcg(found, one).mean() for one in tried]
            if max(gains) > best + LEAST:
                best, factors = max(gains), tried[int(np.argmax(gains))]
        if best == before:
            break
    return factors


def ndcg(found: Shortlists, factors: np.ndarray) -> np.ndarray:
    """[R] NDCG@10 of the rows with factors [S] on their sources."""
    scores = found.fixed + found.parts @ factors.astype(np.float32)
    depth = min(DEPTH, scores.shape[1])
    top = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
    order = np.argsort(-np.take_along_axis(scores, top, 1), axis=1, kind="stable")
    right = np.take_along_axis(found.right, np.take_along_axis(top, order, 1), 1)
    return right @ _DISCOUNTS[:depth] / _IDEAL[found.answers]


def shortlists(source: CandidateSource, rows: BlendBatch, places: np.ndarray) -> Shortlists:
    """The shortlists of the rows at `places` that have an answer which can be shown."""
    cells = source.num_rows * len(source.source_names)
    chunk = max(1, min(MAX_ROWS, MAX_CELLS // cells))
    run = tf.function(lambda part: _shortlist(source, part), reduce_retracing=True)
    parts = []
    for begin in range(0, len(places), chunk):
        some = places[begin : begin + chunk]
        part = tf.nest.map_structure(lambda column, some=some: tf.constant(column[some]), rows)
        parts.append([column.numpy() for column in run(part)])
    if not parts:
        return Shortlists(*(np.zeros(shape) for shape in ((0, 1), (0, 1, len(source.source_names)), (0, 1), 0)))
    whole = Shortlists(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    return _taken(whole, np.flatnonzero(whole.answers))


def _shortlist(source: CandidateSource, rows: BlendBatch) -> tuple[tf.Tensor, ...]:
    phi = source.source_scores(rows.queries, rows.history)  # [B, N+2, S]
    nothing = tf.zeros_like(source.weights), tf.zeros_like(source.by_length)
    common = source.row_weights(rows.queries, rows.history, by_length=nothing[1])  # [B, S]
    own = source.row_weights(rows.queries, rows.history, weights=nothing[0])
    parts, fixed = phi * common[:, tf.newaxis], tf.linalg.matvec(phi, own)
    allowed = source.allowed(rows.history, rows.exclude)  # [B, N+2]
    width = min(WIDE, source.num_rows)
    lists = [fixed + tf.reduce_sum(parts, axis=-1), *tf.unstack(parts, axis=-1)]
    ids = tf.sort(tf.concat([exact_top_k(one, allowed, width)[0] for one in lists], axis=1), axis=1)  # [B, C]
    again = tf.pad(ids[:, 1:] == ids[:, :-1], [[0, 0], [1, 0]])
    ok = tf.gather(allowed, ids, batch_dims=1) & ~again
    valid = targets_of(rows.target, allowed)[1]
    right = tf.reduce_any((ids[:, :, tf.newaxis] == rows.target[:, tf.newaxis]) & valid[:, tf.newaxis], axis=-1)
    answers = tf.minimum(tf.reduce_sum(tf.cast(valid, tf.int32), axis=1), DEPTH)
    fixed = tf.where(ok, tf.gather(fixed, ids, batch_dims=1), float("-inf"))
    return fixed, tf.gather(parts, ids, batch_dims=1), right & ok, answers


def _taken(found: Shortlists, rows: np.ndarray) -> Shortlists:
    return Shortlists(*(column[rows] for column in found))
