"""Learns how much the candidate source believes each of its sources, on half B of the validation users.

The blend is a linear model of the sources' scores under a softmax over all items a row may get, so its cross entropy
is convex in the few weights: Newton's method needs a handful of passes over the rows, a chunk of scores at a time.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfrec_llm.config import Config
from tfrec_llm.retrieval.candidates import CandidateSource
from tfrec_llm.retrieval.descent import descend, descend_crossed
from tfrec_llm.retrieval.first_places import first_place_factors
from tfrec_llm.retrieval.moments import BlendBatch, Moments
from tfrec_llm.training import Stage
from tfrec_llm.types import FIRST_ITEM

LEARN_ROWS, STOP_ROWS = 6000, 2000  # at most: a few dozen weights are known well from so many, and each pass costs all
SCALES = (0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.4)  # of weights that were turned towards the first places
FEW = 30  # stopping rows: with fewer of them all rows are crossed instead
ENOUGH = 32  # utterances whose mean is worth more than the items' mean
_log = logging.getLogger(__name__)


def fit_blend(
    source: CandidateSource, batches: Iterable[BlendBatch], config: Config, stage: Stage
) -> dict[str, dict[str, Any]]:
    """Learns the weights of a source's sources and leaves the best in it.

    It starts at the best single source, and what it keeps has neither a higher loss on the stopping rows nor a lower
    NDCG@10 on all rows that it read than that: the stopping rows alone are too few to tell NDCGs apart, the weights
    too few to be learnt by heart. Where fewer than `FEW` rows stop, all are learnt from, and judged by weights that
    have not seen them. Then `first_places` turns it towards the first ten, where that gains, whatever it costs in
    loss. Of more than `LEARN_ROWS` rows (`STOP_ROWS` of those that stop) some are drawn.

    Args:
      source: as built; its scales and weights are set.
      batches: rows of half B, with and without utterances mixed.
      config: `seed` picks the rows that calibrate the scales, and those that are drawn.
      stage: its name and its TensorBoard folder are used.

    Returns:
      metrics.json entries: NDCG@10 on the stopping rows of the blend and of every source alone.
    """
    rows = join_rows(batches)
    draw = np.random.default_rng([config.seed, 1])
    learn = _some(np.flatnonzero(~rows.stop), LEARN_ROWS, draw)
    stop = _some(np.flatnonzero(rows.stop), STOP_ROWS, draw)
    if not len(learn):
        _log.warning("%s: no rows to learn the blend from, all sources keep the same weight", stage.name)
        return {}
    few = len(stop) < FEW
    if few:
        learn = stop = np.union1d(learn, stop)
    calibrate(source, rows, np.random.default_rng(config.seed).permutation(learn))
    moments = Moments(source, rows)
    alone = [moments(single(source, place), stop) for place in range(len(source.source_names))]
    best = int(np.argmax([figures.gain for figures in alone]))
    start = descend(moments, single(source, best), learn, stop, only=own_weights(source, best))
    theta = descend_crossed(moments, start, learn, draw) if few else descend(moments, start, learn, stop)
    assign(source, theta)
    theta = _turned(source, rows, moments, theta, np.union1d(learn, stop), draw)
    assign(source, theta)
    gains = dict(zip(source.source_names, (figures.gain for figures in alone), strict=True))
    gains["all"] = moments(theta, stop).gain
    _write_scalars(stage, source, gains)
    entry = {"ci95": None, "over": "users", "n": len(stop), "split": "validation"}
    return {f"retrieval.blend_{name}.ndcg@10": {"value": float(gain), **entry} for name, gain in gains.items()}


def _turned(
    source: CandidateSource,
    rows: BlendBatch,
    moments: Moments,
    theta: np.ndarray,
    places: np.ndarray,
    draw: np.random.Generator,
) -> np.ndarray:
    """[P] weights with the factors of `first_places`, all of them scaled so that the likelihood is best."""
    factors = first_place_factors(source, rows, places, draw)
    if np.array_equal(factors, np.ones_like(factors)):
        return theta
    told = ", ".join(f"{name} {factor:.2g}" for name, factor in zip(source.source_names, factors, strict=True))
    _log.info("blend: common weights times %s, for the first places", told)
    turned = theta.copy()
    turned[: moments.common] *= np.tile(factors, 2)
    losses = {scale: moments(scale * turned, places).loss for scale in SCALES}  # none changes an order
    return min(losses, key=losses.__getitem__) * turned


def _some(places: np.ndarray, most: int, draw: np.random.Generator) -> np.ndarray:
    """All of them, or `most` by chance, in their order."""
    return places if len(places) <= most else np.sort(draw.permutation(places)[:most])


def join_rows(batches: Iterable[BlendBatch]) -> BlendBatch:
    """All rows as one batch of arrays; histories, exclusions and targets padded to the widest."""
    batches = [tf.nest.map_structure(np.asarray, batch) for batch in batches]
    if not batches:
        raise ValueError("blend: expected a batch of rows, got none; half B of the validation users is empty.")

    def joined(*parts: np.ndarray) -> np.ndarray:
        if parts[0].ndim < 2:
            return np.concatenate(parts)
        width = max(part.shape[1] for part in parts)
        return np.concatenate([np.pad(part, [(0, 0), (0, width - part.shape[1])]) for part in parts])

    rows = tf.nest.map_structure(joined, *batches)
    return rows._replace(target=_different(rows.target))


def single(source: CandidateSource, place: int) -> np.ndarray:
    """[P] weights that believe one source alone; empty histories keep their popularity."""
    one = np.zeros((2, len(source.source_names)))
    one[:, place] = 1
    return flat(one, source.strangers())


def own_weights(source: CandidateSource, place: int) -> np.ndarray:
    """[P] bool: the weights of one source, with and without an utterance, whatever the history's length."""
    mine = np.zeros((2, len(source.source_names)), bool)
    mine[:, place] = True
    return flat(mine, np.zeros_like(source.strangers(), bool))


def flat(weights: np.ndarray, by_length: np.ndarray) -> np.ndarray:
    """The weights [2, S] and those on top by the history's length [3, S] as one vector [P]."""
    return np.concatenate([np.reshape(weights, -1), np.reshape(by_length, -1)])


def assign(source: CandidateSource, theta: np.ndarray) -> None:
    """Puts a vector of weights into the source."""
    count = len(source.source_names)
    source.weights.assign(theta[: 2 * count].reshape(2, count))
    source.by_length.assign(theta[2 * count :].reshape(-1, count))


def calibrate(source: CandidateSource, rows: BlendBatch, order: np.ndarray) -> None:
    """Centres what is said, and scales each source with a query vector so that its scores spread by about one.

    Sentence encoders put all sentences into a narrow cone; its axis, the mean utterance, says nothing about items.
    """
    if "text" in rows.queries:
        said = rows.queries["text"][0][order][rows.queries["text"][1][order]]
        if len(said) >= ENOUGH:
            source.utterance_centre.assign(said.mean(axis=0))
    spread: dict[str, list[float]] = {name: [] for name in source.widths}
    source.scale.assign(tf.ones_like(source.scale))
    for row in order[:64]:
        one = tf.nest.map_structure(lambda array, row=row: tf.constant(array[row : row + 1]), rows)
        scores = source.source_scores(one.queries, one.history)[0, FIRST_ITEM:]
        for place, name in enumerate(source.widths):
            if name in one.queries and bool(one.queries[name][1][0]):
                spread[name].append(float(tf.math.reduce_std(scores[:, place])))
    means = [float(np.mean(values)) if values else 1.0 for values in spread.values()]
    source.scale.assign([mean if mean > 1e-6 else 1.0 for mean in means])


def _different(target: np.ndarray) -> np.ndarray:
    """[R, M] with repeated targets of a row replaced by padding."""
    target = np.sort(target, axis=1)
    target[:, 1:][target[:, 1:] == target[:, :-1]] = 0
    return target


def _write_scalars(stage: Stage, source: CandidateSource, gains: Mapping[str, float]) -> None:
    weights = source.weights.numpy()
    with tf.summary.create_file_writer(str(stage.logs)).as_default(step=0):
        for place, name in enumerate(source.source_names):
            for case, label in enumerate(("silent", "spoken")):
                tf.summary.scalar(f"blend/weight/{label}/{name}", weights[case, place])
        for name, gain in gains.items():
            tf.summary.scalar(f"blend/ndcg@10/{name}", gain)
    told = ", ".join(f"{n} {w[0]:.3g}/{w[1]:.3g}" for n, w in zip(source.source_names, weights.T, strict=True))
    found = ", ".join(f"{name} {gain:.4f}" for name, gain in gains.items())
    _log.info("%s: weights silent/spoken: %s; ndcg@10: %s", stage.name, told, found)
