"""Exact search in blocks of items, in memory or from a file that is larger than it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfrec_llm.config import setting
from tfrec_llm.layers.top_k import LOWEST, best_of
from tfrec_llm.retrieval.index.answers import Found, checked, filled, shown_rows
from tfrec_llm.types import FIRST_ITEM

SCORES = 6_000_000  # held at a time: larger tensors are mapped anew for each step, which costs more than the product
_LANES = 32  # a block's width is a multiple of it


@dataclass(frozen=True)
class ExactSettings:
    """Settings of `exact`."""

    dtype: str = setting(
        "float32",
        "of the table in memory; bfloat16 halves it and rounds its vectors, products and sums stay float32",
        choices=("float32", "bfloat16"),
    )
    block_items: int = setting(131_072, "items searched together", low=_LANES)
    resident: bool = setting(True, "the table is held in memory; otherwise read block by block in every search")
    xla: bool = setting(False, "compile the search by XLA; measure before")


class ExactIndex:
    """Exact search in blocks of items.

    Args:
      settings: see `ExactSettings`.
      table: [N+2, D] item vectors, an array or a memory-mapped file; rows 0 and 1 are no items.
      shown: [N+2] bool, items that may come back; None = all.

    Raises:
      ValueError: table or `shown` of a wrong shape.
    """

    def __init__(self, settings: ExactSettings, table: np.ndarray, shown: np.ndarray | None = None):
        self._rows, self._places = shown_rows(table, shown)
        self._table, self._settings, self._dim = table, settings, table.shape[1]
        count = max(1, -(-len(self._rows) // settings.block_items))
        self._width = max(1, -(-len(self._rows) // (count * _LANES))) * _LANES  # n, items of a block
        self._count = max(1, -(-len(self._rows) // self._width))  # S
        self._padded = self._count * self._width > len(self._rows)
        self._blocks = tf.stack([*self._read()]) if settings.resident else None  # [S, D, n]
        self._step = tf.function(self._best_in_block, jit_compile=settings.xla, reduce_retracing=True)
        self._steps = tf.function(self._best_in_all, jit_compile=settings.xla, reduce_retracing=True)

    def search(self, queries: np.ndarray, k: int, exclude: np.ndarray | None = None) -> Found:
        """See `Index`."""
        queries, exclude = checked(queries, k, exclude, self._dim)
        queries = np.pad(queries, [(0, 0), (0, 1)], constant_values=1) if self._padded else queries
        places = self._unwanted(exclude)  # [B, X]
        wanted = min(k, self._count * self._width)
        if self._blocks is not None and len(queries) * self._count * self._width <= SCORES:
            values, found = self._steps(tf.constant(queries), self._blocks, tf.constant(places), wanted)
            return self._named(values.numpy(), found.numpy(), k)
        parts = [*self._chunks(queries, places, wanted)]
        return self._named(*(np.concatenate(part) for part in zip(*parts, strict=True)), k)

    def _read(self) -> Iterator[tf.Tensor]:
        """Blocks [D, n] in the order of the items.

        Where the last has places to spare there is one more coordinate, 1 in every query, which makes them lose.
        """
        for begin in range(0, self._count * self._width, self._width):
            rows = np.asarray(self._table[self._rows[begin : begin + self._width]], np.float32)
            spare = self._width - len(rows)
            rows = np.pad(rows, [(0, spare), (0, int(self._padded))])
            if spare:
                rows[-spare:, -1] = LOWEST
            yield tf.cast(tf.transpose(tf.constant(rows)), self._settings.dtype)

    def _unwanted(self, exclude: np.ndarray) -> np.ndarray:
        """[B, X] int32 places, counted over all blocks, that must not win; -1 = none."""
        inside = (exclude >= FIRST_ITEM) & (exclude < len(self._places))
        return np.where(inside, self._places[np.where(inside, exclude, 0)], -1).astype(np.int32)

    def _chunks(self, queries: np.ndarray, places: np.ndarray, k: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Values and places [b, k] of some queries after the other; all blocks for each chunk."""
        held = SCORES // (2 if places.shape[1] else 1)  # exclusions are written into a copy
        size = min(len(queries), max(1, held // self._width))
        each = min(k, self._width)
        starts, found = range(0, len(queries), size), {}
        for number, block in enumerate(self._read() if self._blocks is None else self._blocks):
            for begin in starts:
                short = max(0, begin + size - len(queries))  # the last chunk is filled up: one shape, one graph
                rows = np.r_[begin : begin + size - short, np.zeros(short, int)]
                values, where = self._step(tf.constant(queries[rows]), block, tf.constant(places[rows]), number, each)
                where = where + number * self._width
                if begin in found:
                    values, order = tf.math.top_k(tf.concat([found[begin][0], values], 1), min(k, 2 * each))
                    where = tf.gather(tf.concat([found[begin][1], where], 1), order, batch_dims=1)
                found[begin] = values, where
        for begin in starts:
            yield tuple(part.numpy()[: len(queries) - begin] for part in found[begin])

    def _best_in_block(
        self, queries: tf.Tensor, block: tf.Tensor, places: tf.Tensor, number: tf.Tensor, k: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        scores = tf.matmul(queries, tf.cast(block, tf.float32))  # [B, n]
        here = places - number * self._width
        inside = (here >= 0) & (here < self._width)
        return best_of(_without(scores, here, inside), k)

    def _best_in_all(
        self, queries: tf.Tensor, blocks: tf.Tensor, places: tf.Tensor, k: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """All blocks at once, for few queries: the blocks, not the queries, are shared out among the threads."""
        count, width, batch = self._count, self._width, tf.shape(queries)[0]
        spread = tf.broadcast_to(queries, tf.concat([[count], tf.shape(queries)], 0))
        scores = tf.matmul(spread, tf.cast(blocks, tf.float32))  # [S, B, n]
        rows = tf.where(places >= 0, places // width, 0) * batch + tf.range(batch)[:, tf.newaxis]  # [B, X]
        scores = tf.reshape(scores, [count * batch, width])
        scores = _without(scores, places % width, places >= 0, rows)
        each = min(k, width)
        values, found = best_of(scores, each)  # [S * B, each]
        found += tf.repeat(tf.range(count) * width, batch)[:, tf.newaxis]
        side_by_side = [
            tf.reshape(tf.transpose(tf.reshape(part, [count, batch, each]), [1, 0, 2]), [batch, count * each])
            for part in (values, found)
        ]
        values, order = tf.math.top_k(side_by_side[0], k)
        return values, tf.gather(side_by_side[1], order, batch_dims=1)

    def _named(self, values: np.ndarray, places: np.ndarray, k: int) -> Found:
        rows = np.append(self._rows, 0)[np.minimum(places, len(self._rows))]
        values = np.where(values > LOWEST / 2, values, LOWEST)
        return filled(rows, values, min(k, len(self._places) - FIRST_ITEM))


def _without(scores: tf.Tensor, columns: tf.Tensor, real: tf.Tensor, rows: tf.Tensor | None = None) -> tf.Tensor:
    """[R, W] scores with -inf at the real ones of some places [B, X]; rows None = row b."""
    if columns.shape[1] == 0:
        return scores
    rows = tf.broadcast_to(tf.range(tf.shape(columns)[0])[:, tf.newaxis], tf.shape(columns)) if rows is None else rows
    where = tf.stack([rows, tf.where(real, columns, 0)], axis=-1)  # [B, X, 2]
    return tf.tensor_scatter_nd_min(scores, where, tf.where(real, -float("inf"), float("inf")))
