"""The sources' item tables side by side, as the candidate source multiplies its queries with them.

Those that only an utterance asks lie apart: a batch without utterances does not pay for them.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from tfrec_llm.types import FIRST_ITEM, Tensor

TEXT, SLOTS = "text", "slots"  # slots: attribute values that an utterance names, times those that items have
VECTOR_SOURCES = ("behaviour", "towers", TEXT, SLOTS)
SPOKEN = (TEXT, SLOTS)


class Columns(tf.Module):
    """Item tables.

    Args:
      widths: source -> width of its vectors, in the order of VECTOR_SOURCES.
      num_rows: N+2.
    """

    def __init__(self, widths: Mapping[str, int], num_rows: int):
        super().__init__(name="columns")
        self._silent = {name: width for name, width in widths.items() if name not in SPOKEN}
        self._spoken = {name: width for name, width in widths.items() if name in SPOKEN}
        self.silent = _zeros(num_rows, sum(self._silent.values()) + 1, "silent")  # popularity last
        self.spoken = _zeros(num_rows, sum(self._spoken.values()), "spoken") if self._spoken else None

    def take(self, tables: Mapping[str, np.ndarray], popularity: np.ndarray) -> None:
        """Takes over the tables [N+2, *] of all sources and the popularity [N+2]; rows of no item become zero."""
        for name, table in self.laid_out(tables, popularity).items():
            table[:FIRST_ITEM] = 0
            getattr(self, name).assign(table)

    def laid_out(self, tables: Mapping[str, np.ndarray], popularity: np.ndarray) -> dict[str, np.ndarray]:
        """Tables [R, *] of all sources and popularity [R], by the names of the variables that hold such rows."""
        found = {"silent": [*(tables[name] for name in self._silent), popularity]}
        if self._spoken:
            found["spoken"] = [tables[name] for name in self._spoken]
        return {name: np.column_stack(parts).astype(np.float32) for name, parts in found.items()}

    def scores(self, asked: Mapping[str, Tensor], popularity: Tensor, heard: Tensor | None) -> Tensor:
        """What all items score.

        Args:
          asked: source -> weighted queries [B, q].
          popularity: [B, 1] its weight.
          heard: scalar bool, whether any row has an utterance; None: none can have one.

        Returns:
          [B, N+2].
        """
        silent = tf.matmul(
            tf.concat([*(asked[name] for name in self._silent), popularity], 1), self.silent, False, True
        )
        if self.spoken is None or heard is None:
            return silent
        said = tf.concat([asked[name] for name in self._spoken], 1)
        return tf.cond(heard, lambda: silent + tf.matmul(said, self.spoken, transpose_b=True), lambda: silent)

    def scores_of(
        self, asked: Mapping[str, Tensor], popularity: Tensor, heard: Tensor | None, item_ids: Tensor
    ) -> Tensor:
        """What some items score in some views of a row.

        Args:
          asked: source -> weighted queries [B, L, q].
          popularity: [B, L, 1] its weight.
          heard: as in `scores`.
          item_ids: [B, n] item indices.

        Returns:
          [B, L, n].
        """
        silent = tf.concat([*(asked[name] for name in self._silent), popularity], 2)
        silent = tf.einsum("bnq,blq->bln", rows_of(self.silent, item_ids), silent)
        if self.spoken is None or heard is None:
            return silent
        said = tf.concat([asked[name] for name in self._spoken], 2)
        return tf.cond(
            heard,
            lambda: silent + tf.einsum("bnq,blq->bln", rows_of(self.spoken, item_ids), said),
            lambda: silent,
        )

    def parts(self, vectors: Mapping[str, Tensor], heard: Tensor | None, item_ids: Tensor) -> list[Tensor]:
        """What each source alone makes of some items [B, K]: [B, K] each, in the order of the sources."""

        def products(names: Mapping[str, int], table: tf.Variable) -> list[Tensor]:
            rows = tf.split(rows_of(table, item_ids)[..., : sum(names.values())], [*names.values()], axis=-1)
            named = zip(names, rows, strict=True)
            return [tf.reduce_sum(part * vectors[name][:, tf.newaxis], axis=2) for name, part in named]

        silent = products(self._silent, self.silent) if self._silent else []
        if self.spoken is None:
            return silent
        nothing = [tf.zeros(tf.shape(item_ids)) for _ in self._spoken]
        if heard is None:
            return [*silent, *nothing]
        return [*silent, *tf.cond(heard, lambda: products(self._spoken, self.spoken), lambda: nothing)]

    def tables(self) -> Iterator[tuple[str, Tensor]]:
        """Each source's name and its table [N+2, q], popularity [N+2, 1] last."""
        for names, table in ((self._silent, self.silent), (self._spoken, self.spoken)):
            if names:
                parts = tf.split(table[:, : sum(names.values())], [*names.values()], axis=1)
                yield from zip(names, parts, strict=True)
        yield "popularity", self.silent[:, -1:]

    def popularity(self) -> Tensor:
        """[N+2] what an item's popularity adds where it counts 1."""
        return self.silent[:, -1]


def in_order(sources: Iterable[str]) -> list[str]:
    """Names in the order of VECTOR_SOURCES, unknown ones last."""
    return sorted(sources, key=lambda name: VECTOR_SOURCES.index(name) if name in VECTOR_SOURCES else 99)


def heard(queries: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor | None:
    """Whether any row of source -> (vectors, present) has an utterance; None where none can have one."""
    present = [queries[name][1] for name in SPOKEN if name in queries]
    return tf.reduce_any(tf.stack(present)) if present else None


def meant(text: np.ndarray, axes: np.ndarray, centre: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Text vectors as the index takes them, and what they were centred by.

    Args:
      text: [N+2, D]; items without a text are zero, and stay so.
      axes: [2, D] orthonormal or zero rows, directions that tell a language and not a meaning: they are taken out.
      centre: [D] of other texts; None = their own mean.

    Returns:
      [N+2, D] of unit length, and the centre [D].
    """
    told = np.any(text != 0, axis=1)
    if centre is None:
        centre = text[told].mean(axis=0) if told.any() else np.zeros(text.shape[1])
    rest = text - centre
    rest = rest - rest @ axes.T @ axes
    unit = rest / np.maximum(np.linalg.norm(rest, axis=1, keepdims=True), 1e-9)
    return np.where(told[:, None], unit, 0.0), centre


def meant_aloud(utterance: Tensor, centre: Tensor, axes: Tensor) -> Tensor:
    """Utterances [B, D] as `meant` has items: centred [D], without the axes [2, D] of languages, of unit length."""
    centred = utterance - centre
    told = tf.matmul(centred, axes, transpose_b=True)  # [B, 2]
    return tf.math.l2_normalize(centred - tf.matmul(told, axes), axis=-1)


def rows_of(table: tf.Variable, item_ids: Tensor) -> Tensor:
    """Rows of a table.

    A gather from the variable itself would make every later product with the whole table copy it first.
    """
    return tf.gather(tf.convert_to_tensor(table), item_ids)


def _zeros(num_rows: int, columns: int, name: str) -> tf.Variable:
    return tf.Variable(tf.zeros([num_rows, columns]), trainable=False, name=name)
