"""The candidate source: several ways to find items, blended into one index with one exact top-k.

A source with a query vector adds columns to the index (behaviour, towers, text, slots), popularity is a column whose
query is its weight, and what is computed from the history alone (neighbours of its items, items held before) adds
scores. The weights are learnt by `fit_blend`, apart for rows with and without an utterance and by the length of the
history; a row that lacks a source gives it no weight.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfrec_llm.data.shown import shown_items
from tfrec_llm.layers.left_out import LeftOut
from tfrec_llm.layers.top_k import allowed_items, exact_top_k
from tfrec_llm.retrieval import catalogue_facts
from tfrec_llm.retrieval.columns import VECTOR_SOURCES, Columns, heard, in_order, meant, meant_aloud
from tfrec_llm.retrieval.features import candidate_features, feature_names
from tfrec_llm.retrieval.past import ITEM_ITEM, Neighbours, Past
from tfrec_llm.retrieval.repeats import held_at
from tfrec_llm.retrieval.row_weights import cases, row_weights, strangers
from tfrec_llm.training import load_weights, save_weights
from tfrec_llm.training.files import write_text
from tfrec_llm.types import PADDING, Candidates, Dataset, History, Tensor

LANGUAGE_AXES = 2  # directions of the text vectors that tell a language
FILE = "source"
Query = Mapping[str, tuple[Tensor, Tensor]]  # source -> (vectors [B, q], present [B] bool)


class CandidateSource(tf.Module):
    """Blended sources over one index.

    Args:
      widths: source -> width of its vectors, in the order of the columns; names from VECTOR_SOURCES.
      num_rows: N+2.
      basket: events of one second are one step.
      repeat: items of the history stay candidates.
      neighbours: M, of each item, as of `item_item.learn_neighbours`; 0 = no such source.
      whole: neighbours of the whole history are one too, see `past.Past`.
    """

    def __init__(self, widths: Mapping[str, int], num_rows: int, basket: bool, repeat: bool, neighbours=0, whole=True):
        super().__init__(name="candidate_source")
        unknown = set(widths) - set(VECTOR_SOURCES)
        if unknown or not widths:
            raise ValueError(f"candidate source: expected tables of {VECTOR_SOURCES}, got {sorted(widths)}.")
        self.widths, self.num_rows, self.basket, self.repeat = dict(widths), num_rows, basket, repeat
        self.past = Past(num_rows, basket, repeat, neighbours, whole)
        self.source_names = (*widths, "popularity", *self.past.names)
        scored = (*widths, *([ITEM_ITEM] if neighbours else ()))
        self.feature_names = feature_names(scored, catalogue_facts.CONTENT_DIM)
        self.columns, count = Columns(widths, num_rows), len(self.source_names)
        self.facts = _constant([num_rows, 3 + catalogue_facts.CONTENT_DIM], "facts")
        self.shown = tf.Variable(tf.zeros([num_rows], tf.bool), trainable=False, name="shown")
        self.utterance_centre = _constant([widths.get("text", 1)], "utterance_centre")
        self.language_axes = _constant([LANGUAGE_AXES, widths.get("text", 1)], "language_axes")
        self.scale = tf.Variable(tf.ones([len(widths)]), trainable=False, name="scale")
        self.weights = tf.Variable(tf.zeros([2, count]), name="weights")  # row 1: with an utterance
        self.by_length = tf.Variable(self.strangers(), name="by_length")  # on top, by the length of the history

    @classmethod
    def build(
        cls,
        tables: Mapping[str, np.ndarray],
        dataset: Dataset,
        language_axes: np.ndarray | None = None,
        neighbours: Neighbours | None = None,
    ) -> "CandidateSource":
        """A source over item tables, with equal weights until `fit_blend` has learnt better ones.

        Args:
          tables: source -> [N+2, *] item vectors.
          dataset: catalogue, domain and training events.
          language_axes: [2, D] orthonormal or zero rows: directions in which "text" tells a language, not a meaning;
            they are taken out of items and utterances.
          neighbours: of each item, as of `item_item.learn_neighbours`.

        Raises:
          ValueError: no table, an unknown source, or a table of another number of rows.
        """
        tables = {name: np.array(tables[name], np.float32) for name in in_order(tables)}
        num_rows, domain = len(dataset.catalogue.item_ids), dataset.domain
        for name, table in tables.items():
            if table.ndim != 2 or len(table) != num_rows:
                raise ValueError(f"{name}: expected a table [{num_rows}, *], got {list(table.shape)}; train it again.")
        widths = {name: table.shape[1] for name, table in tables.items()}
        count = 0 if neighbours is None else neighbours.item_ids.shape[1]
        source = cls(widths, num_rows, domain.step == "basket", domain.repeat, count)
        if count:
            source.past.take(neighbours)
        counts, given = catalogue_facts.training_counts(dataset), tables.get("text")
        if given is not None:
            axes = source.language_axes.numpy() if language_axes is None else language_axes
            source.language_axes.assign(axes)
            tables["text"], centre = meant(given, axes)
            source.utterance_centre.assign(centre)
        source.columns.take(tables, catalogue_facts.expected_popularity(dataset, counts, given))
        source.facts.assign(catalogue_facts.item_facts(dataset, tables, counts))
        source.shown.assign(shown_items(dataset.catalogue, domain))
        source.weights.assign(tf.ones_like(source.weights))
        return source

    def candidates(
        self,
        queries: Query,
        history: History,
        exclude: Tensor,
        k: int,
        within: Tensor | None = None,
        least: int = 1,
    ) -> Candidates:
        """What could fit.

        Args:
          queries: source -> (vectors [B, q], present [B] bool); a source left out is absent from every row.
          history: [B, T] each.
          exclude: [B, X] item indices that must not come back, 0 where unused.
          k: candidates wanted.
          within: [B, N+2] bool items that the user asked for; not heeded in rows where fewer than `least` are allowed.
          least: see `within`.

        Returns:
          K = min(k, N) candidates, best first; where fewer are allowed, item 0, a very low score and False.
        """
        vectors, weights = self.vectors(queries, history), self.row_weights(queries, history)
        may = self.allowed(history, exclude)
        if within is not None:
            asked = may & within
            enough = tf.reduce_sum(tf.cast(asked, tf.int32), axis=1, keepdims=True) >= least
            may = tf.where(enough, asked, may)
        ids, scores, allowed = exact_top_k(self._score(queries, vectors, weights, history), may, k)
        parts = self.columns.parts(vectors, heard(queries), ids)
        held = held_at(history, self.basket, ids)
        if self.past.count:
            parts.append(tf.gather(self._past(history)[0], ids, batch_dims=1))
        features = candidate_features(parts, scores, allowed, held, tf.gather(self.facts, ids))
        return Candidates(ids, scores, features, allowed)

    def scores(self, queries: Query, history: History) -> Tensor:
        """Blend scores of all items, whether allowed or not: [B, N+2]; arguments as in `candidates`."""
        vectors, weights = self.vectors(queries, history), self.row_weights(queries, history)
        return self._score(queries, vectors, weights, history)

    def scores_of(self, queries: Query, history: History, item_ids: Tensor, links: Tensor | None = None) -> Tensor:
        """Blend scores of some items, equal to those in `candidates`.

        Args:
          queries: as in `candidates`.
          history: [B, T] each.
          item_ids: [B, n] item indices.
          links: [B, T, n] of `past.links`, where they are known.

        Returns:
          [B, n].
        """
        vectors, weights = self.vectors(queries, history), self.row_weights(queries, history)
        asked = {name: vector[:, tf.newaxis] for name, vector in self._weighted(vectors, weights).items()}
        popularity = weights[:, tf.newaxis, len(self.widths)][..., tf.newaxis]
        scores = self.columns.scores_of(asked, popularity, heard(queries), item_ids)[:, 0]
        past = self.past.at(history, self.columns.popularity(), item_ids, links)
        for weight, found in zip(self._past_weights(weights), past, strict=True):
            scores += weight * found
        return scores

    def scores_without(self, queries: Query, history: History, left: LeftOut, item_ids: Tensor) -> Tensor:
        """As `scores_of`, of histories that lack one event, where an event is a step of its own.

        Args:
          queries: source -> (vectors [B * V, q], present [B * V] bool), of V = L + 1 views.
          history: [B, T] each.
          left: which events are missing.
          item_ids: [B, n] item indices.

        Returns:
          [B, V, n].
        """
        shape = tf.shape(left.kept)  # B, V, T

        def views(values: Tensor) -> Tensor:
            return tf.reshape(values, [shape[0], shape[1], values.shape[1]])

        rest = tf.reshape(tf.where(left.kept, history.item[:, tf.newaxis], PADDING), [-1, shape[2]])
        rest = History(rest, rest, tf.zeros_like(rest, tf.int64))  # how many events are left is all that counts here
        weights = self.row_weights(queries, rest)
        asked = {name: views(v) for name, v in self._weighted(self.vectors(queries, rest), weights).items()}
        popularity = views(weights[:, len(self.widths)][:, tf.newaxis])
        scores = self.columns.scores_of(asked, popularity, heard(queries), item_ids)
        past = self.past.without_each(history, self.columns.popularity(), left, item_ids)
        for weight, found in zip(self._past_weights(weights), past, strict=True):
            scores += views(weight) * found
        return scores

    def source_scores(self, queries: Query, history: History) -> Tensor:
        """Every source's own scores, in the order of `source_names`: [B, N+2, S]. Their weighted sum is the blend."""
        vectors = self.vectors(queries, history)
        *tables, (_, popularity) = self.columns.tables()
        parts = [tf.matmul(vectors[name], table, transpose_b=True) for name, table in tables]
        parts.append(tf.broadcast_to(popularity[:, 0], tf.shape(parts[0])))
        return tf.stack([*parts, *self._past(history)], axis=-1)

    def vectors(self, queries: Query, history: History) -> dict[str, Tensor]:
        """The query vectors as the index takes them: scaled, the utterance centred, zero where absent. [B, q] each."""
        unknown = set(queries) - set(self.widths)
        if unknown:
            raise ValueError(f"candidate source: expected queries of {list(self.widths)}, got {sorted(unknown)} too.")
        batch = tf.shape(history.item)[0]
        vectors = {}
        for place, (name, width) in enumerate(self.widths.items()):
            vectors[name] = tf.zeros([batch, width])
            if name in queries:
                vector, present = queries[name]
                vector = tf.cast(vector, tf.float32)
                if name == "text":
                    vector = meant_aloud(vector, self.utterance_centre, self.language_axes)
                vectors[name] = tf.where(present[:, tf.newaxis], vector, 0.0) / self.scale[place]
        return vectors

    def row_weights(
        self, queries: Query, history: History, weights: Tensor | None = None, by_length: Tensor | None = None
    ) -> Tensor:
        """What each source counts in each row.

        Args:
          queries: as in `candidates`.
          history: [B, T] each.
          weights, by_length: [2, S] and [3, S] in place of the learnt ones.

        Returns:
          [B, S], 0 where the row lacks the source; linear in `weights` and `by_length`.
        """
        learnt = (self.weights if weights is None else weights, self.by_length if by_length is None else by_length)
        present = {name: queries[name][1] if name in queries else None for name in self.widths}
        return row_weights(present, self.cases(queries, history), *learnt)

    def cases(self, queries: Query, history: History) -> tuple[Tensor, Tensor]:
        """Which weights a row takes, [B] each: 1 with an utterance, else 0; how many of LENGTHS its history reaches."""
        return cases(queries["text"][1] if "text" in queries else None, history)

    def strangers(self) -> np.ndarray:
        """`by_length` that gives empty histories the popular items: [3, S] float32."""
        return strangers(len(self.widths), len(self.source_names))

    def allowed(self, history: History, exclude: Tensor) -> Tensor:
        """Which items a row may get: [B, N+2] bool."""
        exclude = tf.cast(exclude, tf.int32)
        if not self.repeat:
            exclude = tf.concat([exclude, tf.cast(history.item, tf.int32)], axis=1)
        return allowed_items(self.shown, exclude)

    def save(self, folder: str | Path) -> None:
        """Writes shape and variables into a folder."""
        shape = {"widths": self.widths, "num_rows": self.num_rows, "basket": self.basket, "repeat": self.repeat}
        shape |= {"neighbours": self.past.count, "whole": self.past.whole}
        write_text(Path(folder) / f"{FILE}.json", json.dumps(shape, indent=1) + "\n")
        save_weights(self, Path(folder) / f"{FILE}.npz")

    @classmethod
    def load(cls, folder: str | Path) -> "CandidateSource":
        """Reads what `save` wrote, strictly.

        Raises:
          ValueError: a file is missing or does not fit.
        """
        path = Path(folder) / f"{FILE}.json"
        try:
            source = cls(**{"whole": False} | json.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"{path}: expected a candidate source, got {error}; train it again with `make train`."
            ) from error
        load_weights(source, Path(folder) / f"{FILE}.npz")
        return source

    def _score(self, queries: Query, vectors: dict[str, Tensor], weights: Tensor, history: History) -> Tensor:
        """[B, N+2]: products with the whole tables, and what the history adds."""
        popularity = weights[:, len(self.widths), tf.newaxis]
        scores = self.columns.scores(self._weighted(vectors, weights), popularity, heard(queries))
        for weight, found in zip(self._past_weights(weights), self._past(history), strict=True):
            scores += weight * found
        return scores

    def _weighted(self, vectors: dict[str, Tensor], weights: Tensor) -> dict[str, Tensor]:
        """Source -> query vectors times the source's weight, [B, q]."""
        return {name: vectors[name] * weights[:, place : place + 1] for place, name in enumerate(self.widths)}

    def _past(self, history: History) -> list[Tensor]:
        return self.past(history, self.columns.popularity())

    def _past_weights(self, weights: Tensor) -> list[Tensor]:
        first = len(self.widths) + 1
        return [weights[:, place : place + 1] for place in range(first, len(self.source_names))]


def _constant(shape: list[int], name: str) -> tf.Variable:
    return tf.Variable(tf.zeros(shape), trainable=False, name=name)
