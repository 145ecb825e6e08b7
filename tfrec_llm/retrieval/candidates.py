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

from tfrec_llm.layers.top_k import allowed_items, exact_top_k
from tfrec_llm.retrieval import catalogue_facts
from tfrec_llm.retrieval.features import candidate_features, feature_names
from tfrec_llm.retrieval.past import ITEM_ITEM, Neighbours, Past
from tfrec_llm.retrieval.repeats import held_at
from tfrec_llm.training import load_weights, save_weights
from tfrec_llm.training.files import write_text
from tfrec_llm.types import FIRST_ITEM, PADDING, Candidates, Dataset, History, Tensor

SLOTS = "slots"  # attribute values that an utterance names, times those that items have
VECTOR_SOURCES = ("behaviour", "towers", "text", SLOTS)
LANGUAGE_AXES = 2  # directions of the text vectors that tell a language
LENGTHS = (1, 5, 20)  # events; histories below each of them get weights of their own
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
    """

    def __init__(self, widths: Mapping[str, int], num_rows: int, basket: bool, repeat: bool, neighbours: int = 0):
        super().__init__(name="candidate_source")
        unknown = set(widths) - set(VECTOR_SOURCES)
        if unknown or not widths:
            raise ValueError(f"candidate source: expected tables of {VECTOR_SOURCES}, got {sorted(widths)}.")
        self.widths, self.num_rows, self.basket, self.repeat = dict(widths), num_rows, basket, repeat
        self.past = Past(num_rows, basket, repeat, neighbours)
        self.source_names = (*widths, "popularity", *self.past.names)
        scored = (*widths, *([ITEM_ITEM] if neighbours else ()))
        self.feature_names = feature_names(scored, catalogue_facts.CONTENT_DIM)
        columns, count = sum(widths.values()) + 1, len(self.source_names)
        self.index = _constant([num_rows, columns], "index")
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
        tables = {name: np.array(tables[name], np.float32) for name in sorted(tables, key=_source_order)}
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
        if "text" in tables:
            told = np.any(tables["text"] != 0, axis=1)  # items without a text stay at zero
            centre = tables["text"][told].mean(axis=0) if told.any() else np.zeros(widths["text"])
            source.utterance_centre.assign(centre)
            axes = source.language_axes.numpy() if language_axes is None else language_axes
            source.language_axes.assign(axes)
            meant = tables["text"] - centre
            tables["text"] = np.where(told[:, None], _unit(meant - meant @ axes.T @ axes), 0.0)
        index = np.column_stack([*tables.values(), catalogue_facts.expected_popularity(dataset, counts, given)])
        index[:FIRST_ITEM] = 0
        source.index.assign(index)
        source.facts.assign(catalogue_facts.item_facts(dataset, tables, counts))
        source.shown.assign(catalogue_facts.shown_items(dataset.catalogue, domain))
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
        ids, scores, allowed = exact_top_k(self._score(vectors, weights, history), may, k)
        rows = tf.split(tf.gather(self.index, ids), [*self.widths.values(), 1], axis=-1)  # [B, K, q] each
        parts = [
            tf.einsum("bkq,bq->bk", part, vectors[name]) for name, part in zip(self.widths, rows[:-1], strict=True)
        ]
        held = held_at(history, self.basket, ids)
        if self.past.count:
            parts.append(tf.gather(self.past(history)[0], ids, batch_dims=1))
        features = candidate_features(parts, scores, allowed, held, tf.gather(self.facts, ids))
        return Candidates(ids, scores, features, allowed)

    def scores(self, queries: Query, history: History) -> Tensor:
        """Blend scores of all items, whether allowed or not: [B, N+2]; arguments as in `candidates`."""
        return self._score(self.vectors(queries, history), self.row_weights(queries, history), history)

    def scores_of(self, queries: Query, history: History, item_ids: Tensor) -> Tensor:
        """Blend scores of some items, equal to those in `candidates`.

        Args:
          queries: as in `candidates`.
          history: [B, T] each.
          item_ids: [B, n] item indices.

        Returns:
          [B, n].
        """
        vectors, weights = self.vectors(queries, history), self.row_weights(queries, history)
        scores = tf.einsum("bnq,bq->bn", tf.gather(self.index, item_ids), self._query(vectors, weights))
        for weight, found in zip(self._past_weights(weights), self.past(history), strict=True):
            scores += weight * tf.gather(found, item_ids, batch_dims=1)
        return scores

    def source_scores(self, queries: Query, history: History) -> Tensor:
        """Every source's own scores, in the order of `source_names`: [B, N+2, S]. Their weighted sum is the blend."""
        vectors = self.vectors(queries, history)
        tables = tf.split(self.index, [*self.widths.values(), 1], axis=1)
        parts = [tf.matmul(vectors[n], t, transpose_b=True) for n, t in zip(self.widths, tables[:-1], strict=True)]
        parts.append(tf.broadcast_to(tables[-1][:, 0], tf.shape(parts[0])))
        return tf.stack([*parts, *self.past(history)], axis=-1)

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
                vector = self._meaning(vector) if name == "text" else vector
                vectors[name] = tf.where(present[:, tf.newaxis], vector, 0.0) / self.scale[place]
        return vectors

    def _meaning(self, utterance: Tensor) -> Tensor:
        """[B, D] utterances as the index has items: centred, without what tells the language, of unit length."""
        centred = utterance - self.utterance_centre
        told = tf.matmul(centred, self.language_axes, transpose_b=True)  # [B, 2]
        return tf.math.l2_normalize(centred - tf.matmul(told, self.language_axes), axis=-1)

    def row_weights(
        self, queries: Query, history: History, weights: Tensor | None = None, by_length: Tensor | None = None
    ) -> Tensor:
        """What each source counts in each row.

        Args:
          queries: as in `candidates`.
          history: [B, T] each.
          weights: [2, S] in place of the learnt ones.
          by_length: [3, S] in place of the learnt ones.

        Returns:
          [B, S], 0 where the row lacks the source; linear in `weights` and `by_length`.
        """
        spoken, length = self.cases(queries, history)
        always = tf.ones_like(spoken, tf.bool)
        present = [queries[name][1] if name in queries else ~always for name in self.widths]
        present += [always] * (len(self.source_names) - len(self.widths))
        # An empty history says nothing: popularity has there the weight of its length alone.
        silent = tf.concat([tf.ones([len(self.widths)]), tf.zeros([len(self.source_names) - len(self.widths)])], 0)
        found = tf.gather(self.weights if weights is None else weights, spoken)  # [B, S]
        found *= tf.where((length > 0)[:, tf.newaxis], 1.0, silent)
        extra = self.by_length if by_length is None else by_length
        found += tf.gather(tf.concat([extra, tf.zeros_like(extra[:1])], axis=0), length)
        return tf.where(tf.stack(present, axis=1), found, 0.0)

    def cases(self, queries: Query, history: History) -> tuple[Tensor, Tensor]:
        """Which weights a row takes, [B] each: 1 with an utterance, else 0; how many of LENGTHS its history reaches."""
        events = tf.reduce_sum(tf.cast(history.item != PADDING, tf.int32), axis=1)  # [B]
        length = tf.add_n([tf.cast(events >= least, tf.int32) for least in LENGTHS])
        spoken = tf.cast(queries["text"][1], tf.int32) if "text" in queries else tf.zeros_like(length)
        return spoken, length

    def strangers(self) -> np.ndarray:
        """`by_length` that gives empty histories the popular items: [3, S] float32."""
        found = np.zeros([len(LENGTHS), len(self.source_names)], np.float32)
        found[0, len(self.widths)] = 1
        return found

    def allowed(self, history: History, exclude: Tensor) -> Tensor:
        """Which items a row may get: [B, N+2] bool."""
        exclude = tf.cast(exclude, tf.int32)
        if not self.repeat:
            exclude = tf.concat([exclude, tf.cast(history.item, tf.int32)], axis=1)
        return allowed_items(self.shown, exclude)

    def save(self, folder: str | Path) -> None:
        """Writes shape and variables into a folder."""
        shape = {"widths": self.widths, "num_rows": self.num_rows, "basket": self.basket, "repeat": self.repeat}
        shape["neighbours"] = self.past.count
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
            source = cls(**json.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"{path}: expected a candidate source, got {error}; train it again with `make train`."
            ) from error
        load_weights(source, Path(folder) / f"{FILE}.npz")
        return source

    def _score(self, vectors: dict[str, Tensor], weights: Tensor, history: History) -> Tensor:
        """[B, N+2]: one product with the whole index, and what the history adds."""
        scores = tf.matmul(self._query(vectors, weights), self.index, transpose_b=True)
        for weight, found in zip(self._past_weights(weights), self.past(history), strict=True):
            scores += weight * found
        return scores

    def _query(self, vectors: dict[str, Tensor], weights: Tensor) -> Tensor:
        """The weighted sources side by side, popularity last: [B, columns]."""
        places = enumerate(self.widths)
        parts = [vectors[name] * weights[:, place : place + 1] for place, name in places]
        popularity = len(self.widths)
        return tf.concat([*parts, weights[:, popularity : popularity + 1]], axis=1)

    def _past_weights(self, weights: Tensor) -> list[Tensor]:
        first = len(self.widths) + 1
        return [weights[:, place : place + 1] for place in range(first, len(self.source_names))]


def _constant(shape: list[int], name: str) -> tf.Variable:
    return tf.Variable(tf.zeros(shape), trainable=False, name=name)


def _source_order(name: str) -> int:
    return VECTOR_SOURCES.index(name) if name in VECTOR_SOURCES else len(VECTOR_SOURCES)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
