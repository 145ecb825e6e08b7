"""Loss, gradient and curvature of the blend at given weights, a chunk of rows at a time.

The scores are phi [N+2, S] times a row's weights, and those are linear in the parameters theta [P]. So the gradient is
E_p[phi] - E_target[phi] and the curvature Cov_p[phi], p being the softmax over the items that the row may get.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrec_llm.layers.top_k import exact_top_k
from tfrec_llm.retrieval.candidates import CandidateSource, Query
from tfrec_llm.types import FIRST_ITEM, History, Tensor

MAX_CELLS = 8_000_000  # rows x items x sources of a chunk
MAX_ROWS = 256  # rows of a chunk
DEPTH = 10  # of the NDCG


class BlendBatch(NamedTuple):
    """Rows with known answers, as arrays or tensors."""

    queries: Query  # source -> (vectors [B, q], present [B] bool)
    history: History  # [B, T] each
    exclude: Tensor  # [B, X] item indices that the row could not get, 0 where unused
    target: Tensor  # [B, M] item indices of what came next, 0 padding; several count alike
    stop: Tensor  # [B] bool: stops the fit instead of being learnt from


class Pass(NamedTuple):
    """Means over some rows at given weights."""

    loss: float
    gradient: np.ndarray  # [P]
    curvature: np.ndarray  # [P, P]
    gain: float  # NDCG@10


class Moments:
    """Evaluates weights on rows.

    Args:
      source: gives the sources' scores; its own weights are not read.
      rows: all rows, as arrays.
    """

    def __init__(self, source: CandidateSource, rows: BlendBatch):
        self._source, self._rows = source, rows
        self.common = source.weights.shape.num_elements()  # parameters that hold for histories of every length
        cells = source.num_rows * len(source.source_names)
        self._chunk = max(1, min(MAX_ROWS, MAX_CELLS // cells, len(rows.stop)))
        self._sums = tf.function(self._chunk_sums, reduce_retracing=True)

    def __call__(self, theta: np.ndarray, places: np.ndarray) -> Pass:
        """Means over the rows at `places`; rows without a target that can be shown are left out."""
        total = None
        for begin in range(0, len(places), self._chunk):
            part = places[begin : begin + self._chunk]
            weight = np.r_[np.ones(len(part)), np.zeros(self._chunk - len(part))].astype(np.float32)
            part = np.r_[part, np.repeat(part[:1], self._chunk - len(part))]  # one shape, one graph
            chunk = tf.nest.map_structure(lambda array, part=part: tf.constant(array[part]), self._rows)
            sums = self._sums(tf.constant(theta, tf.float32), chunk, tf.constant(weight))
            sums = [np.asarray(s, np.float64) for s in sums]
            total = sums if total is None else [a + b for a, b in zip(total, sums, strict=True)]
        *sums, count = total
        loss, gradient, curvature, gain = (s / max(float(count), 1.0) for s in sums)
        return Pass(float(loss), gradient, curvature, float(gain))

    def _chunk_sums(self, theta: Tensor, rows: BlendBatch, weight: Tensor) -> tuple[Tensor, ...]:
        """Sums of loss, gradient, curvature, NDCG and rows over one chunk."""
        source = self._source
        phi = source.source_scores(rows.queries, rows.history)  # [B, N+2, S]
        design = self._design(rows)  # [B, S, P]
        allowed = source.allowed(rows.history, rows.exclude)  # [B, N+2]
        scores = tf.einsum("bns,bs->bn", phi, tf.einsum("bsp,p->bs", design, theta))
        log_p = tf.nn.log_softmax(tf.where(allowed, scores, -1e9))  # [B, N+2]
        share, valid = targets_of(rows.target, allowed)  # [B, M]
        weight *= tf.cast(tf.reduce_any(valid, axis=1), tf.float32)  # [B]
        loss = -tf.reduce_sum(share * tf.gather(log_p, rows.target, batch_dims=1), axis=1)  # [B]
        wanted = tf.einsum("bms,bm->bs", tf.gather(phi, rows.target, batch_dims=1), share)  # [B, S]
        p = tf.exp(log_p)
        mean = tf.einsum("bns,bn->bs", phi, p)  # [B, S]
        centred = phi - mean[:, tf.newaxis, :]
        cov = tf.matmul(centred * p[:, :, tf.newaxis], centred, transpose_a=True)  # [B, S, S]
        gradient = tf.einsum("bs,bsp,b->p", mean - wanted, design, weight)
        curvature = tf.einsum("bsp,bst,btq,b->pq", design, cov, design, weight)
        gain = _ndcg(exact_top_k(scores, allowed, DEPTH)[0], rows.target, valid)
        return (tf.reduce_sum(loss * weight), gradient, curvature, tf.reduce_sum(gain * weight), tf.reduce_sum(weight))

    def _design(self, rows: BlendBatch) -> Tensor:
        """How each row's weights depend on theta: [B, S, P], by asking for the weights of each unit vector."""
        weights, by_length = self._source.weights.shape, self._source.by_length.shape
        cut = weights.num_elements()
        columns = [
            self._source.row_weights(
                rows.queries, rows.history, unit[:cut].reshape(weights), unit[cut:].reshape(by_length)
            )
            for unit in np.eye(cut + by_length.num_elements(), dtype=np.float32)
        ]
        return tf.stack(columns, axis=-1)


def targets_of(target: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """The share of each target in its row's answer [B, M], and which targets count [B, M]."""
    valid = (target >= FIRST_ITEM) & tf.gather(allowed, target, batch_dims=1)
    mask = tf.cast(valid, tf.float32)
    return mask / tf.maximum(tf.reduce_sum(mask, axis=1, keepdims=True), 1.0), valid


def _ndcg(top: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """NDCG of the rows: [B]; targets of a row are different from each other."""
    hits = (top[:, :, tf.newaxis] == target[:, tf.newaxis, :]) & valid[:, tf.newaxis, :]  # [B, k, M]
    hits = tf.cast(tf.reduce_any(hits, axis=2), tf.float32)  # [B, k]
    discounts = tf.constant(1.0 / np.log2(np.arange(2, DEPTH + 2)), tf.float32)  # [DEPTH]
    ideal = tf.concat([[1.0], tf.cumsum(discounts)], 0)
    wanted = tf.minimum(tf.reduce_sum(tf.cast(valid, tf.int32), axis=1), DEPTH)
    return tf.linalg.matvec(hits, discounts[: tf.shape(top)[1]]) / tf.gather(ideal, wanted)
