"""The two towers: a TFRS model whose query tower reads a history and whose candidate tower reads an item.

Trained by TFRS' retrieval task: softmax over the candidates of the step, corrected by how often each is sampled
(Bengio and Senecal 2008; Yi et al. 2019), accidental hits removed. A last coordinate (1 in every query, a learned
popularity in every item) keeps the popularity out of the directions.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from tfrec_llm.config import setting
from tfrec_llm.data.history import training_waits
from tfrec_llm.layers.history_encoder import HistoryEncoder
from tfrec_llm.layers.item_table import ItemTable
from tfrec_llm.layers.lazy_adam import LazyAdam
from tfrec_llm.layers.left_out import LeftOut
from tfrec_llm.layers.steps import longest_wait, step_count, step_index, waits_by_step, waits_of
from tfrec_llm.retrieval.catalogue_facts import smoothed_log, training_counts
from tfrec_llm.retrieval.pairs import Pairs, answers_of
from tfrec_llm.retrieval.sampling import POOL, comparable, hardest, observe, sampling_probability
from tfrec_llm.retrieval.spoken import Heard, Words
from tfrec_llm.retrieval.task import SampledSoftmax
from tfrec_llm.types import FIRST_ITEM, Dataset, History, ItemVectors

_FIRST = tf.VariableAggregation.ONLY_FIRST_REPLICA
_LOOKED_UP = 4  # item vectors that a training step looks up for each of its pairs, about: few shapes are known before


@dataclass(frozen=True)
class TwoTowersSettings:
    """The towers' own settings."""

    dim: int = setting(64, "Q2 - 1, width of the vectors", low=1)
    hidden: int = setting(256, "width of the query tower's hidden layer", low=1)
    half_lives: tuple[float, ...] = setting(
        (0.5, 2.0, 8.0, 40.0), "steps after which an event weighs half, one mean of the history for each", low=1
    )
    context: int = setting(100, "events of the history that the query tower reads", low=1)
    targets: int = setting(16, "pairs cut from one window of a user's events", low=1)
    negatives: int = setting(512, "items drawn uniformly as more candidates of a step", low=0)
    hard_negatives: int = setting(
        0, "of eight times as many drawn items those that some query of the step likes best", low=0
    )
    frequencies: str = setting(
        "counted",
        "how often an item is a candidate: from the counts of the training events, or estimated as they stream by",
        choices=("counted", "streaming"),
    )
    temperature: float = setting(1.0, "the scores are divided by it in training", low=1e-3, high=100)
    dropout: float = setting(0.2, "share of the hidden units left out in training", low=0, high=0.9)
    time_dropout: float = setting(0.25, "share of pairs whose time of asking is left out in training", low=0, high=0.9)
    id_dropout: float = setting(0.1, "share of items seen by their text alone in training", low=0, high=0.9)
    spoken_share: float = setting(
        0.25,
        "share of pairs that hear a synthetic utterance in training; 0 = the query tower never hears any",
        low=0,
        high=1,
    )
    spoken: int = setting(10_000, "synthetic utterances to train with, embedded once", low=1)
    attributes: bool = setting(
        False, "item attributes and prices are read beside the text, of which they may be a part"
    )


class TwoTowers(tfrs.models.Model):
    """Query tower, candidate tower and the task that trains them.

    Args:
      settings: widths and the like.
      dataset: event types, step and training frequencies.
      items: text vectors of the items, with attributes behind them where the settings ask for these.
      batch_size: pairs of a step, about: with `negatives` it decides how often an item is sampled.
      said: D, width of utterance embeddings; 0 = the query tower hears none.
    """

    def __init__(
        self, settings: TwoTowersSettings, dataset: Dataset, items: ItemVectors, batch_size: int = 1024, said: int = 0
    ):
        super().__init__(name="two_towers")
        num_rows, domain = len(dataset.catalogue.item_ids), dataset.domain
        counts = training_counts(dataset)
        text = None if items is None else np.asarray(items.text, np.float32)
        self.items = ItemTable(num_rows, settings.dim, text, id_dropout=settings.id_dropout, name="items")
        self.encoder = HistoryEncoder(
            settings.dim,
            num_events=len(domain.events) + FIRST_ITEM,
            basket=domain.step == "basket",
            half_lives=settings.half_lives,
            hidden=settings.hidden,
            window=settings.context,
            dropout=settings.dropout,
            longest_wait=longest_wait(training_waits(dataset)),
            name="query_tower",
        )
        self._said, self.heard = said, Heard(dropout=settings.dropout, name="heard") if said else None
        self._hard, self._streaming = settings.hard_negatives, settings.frequencies == "streaming"
        self._basket, self._time_dropout = domain.step == "basket", settings.time_dropout
        self._looked_up = _LOOKED_UP * batch_size
        sampled = sampling_probability(counts, batch_size, settings.negatives)
        self._sampled = tf.Variable(sampled, trainable=False, name="sampled", aggregation=_FIRST)
        self.popularity = tf.Variable(smoothed_log(counts), name="popularity")
        self._task = SampledSoftmax(settings.temperature)
        self._served = None

    def call(
        self,
        history: History,
        request_time: tf.Tensor | None = None,
        said: tf.Tensor | None = None,
        heard: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """See `query`."""
        end = step_count(history, step_index(history, self._basket))[:, tf.newaxis]  # [B, 1]
        if self._served is None:
            vectors, _ = self._vectors(history.item, training)
        else:
            vectors = tf.gather(self._served, history.item)
        waits = waits_of(history, request_time, basket=self._basket)[:, tf.newaxis]
        encoded = self.encoder(vectors, history, end, waits, training=training)
        if self._said and not self.heard.built:  # last, so that all else starts from the same draws without it
            self.heard.build([encoded.shape, [None, self._said]])
        return self._closed(self._with_words(encoded, said, heard))[:, 0]

    def freeze(self) -> None:
        """Keeps all item vectors as they are now: a served query looks them up and projects no text vectors."""
        self._served = tf.Variable(self.items.table(training=False), trainable=False, name="served")

    def query(
        self,
        history: History,
        request_time: tf.Tensor | None = None,
        said: tf.Tensor | None = None,
        heard: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Reads histories, and what is said.

        Args:
          history: [B, T] each.
          request_time: [B] int64 seconds, 0 unknown; None = unknown for all.
          said: [B, D] utterance embeddings, anything where there is none; None = all are silent.
          heard: [B] bool, whether there is one.

        Returns:
          [B, Q2] float32; times `item_table` = scores of the items.
        """
        return self(history, request_time, said, heard, training=False)

    def query_without(
        self, history: History, left: LeftOut, said: tf.Tensor | None = None, heard: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Queries of histories that lack one event; a served model's, of a domain where an event is a step.

        Args:
          history: [B, T] each.
          left: which events are missing.
          said: [B, D], as of `query`.
          heard: [B] bool.

        Returns:
          [B, L + 1, Q2] float32, the last one of the whole history.
        """
        encoded = self.encoder.without_each(tf.gather(self._served, history.item), history, left)
        return self._closed(self._with_words(encoded, said, heard))

    def item_table(self) -> tf.Tensor:
        """All items as candidates: [N+2, Q2] float32."""
        return self._candidate(self.items.table(training=False), self.popularity)

    def compute_loss(self, inputs: Pairs, training: bool = False) -> tf.Tensor:
        """Mean cross entropy of a step's pairs among the step's candidates, and that of those which hear something.

        Args:
          inputs: windows, targets, negatives and words.
          training: whether dropout is on.
        """
        history, target, negative, words = inputs
        ids, real = _answers(inputs)  # [S * P]
        vectors, table = self._vectors(history.item, training)
        step = step_index(history, self._basket)
        until = tf.gather(step, tf.maximum(target, 0), batch_dims=1)  # [S, P]
        waits = tf.gather(waits_by_step(history, step, tf.shape(step)[1]), until, batch_dims=1)
        waits = tf.where(tf.random.uniform(tf.shape(waits)) < self._time_dropout * float(training), 0, waits)
        query = self.encoder(vectors, history, until, waits, training=training)  # [S, P, Q2 - 1]
        query = tf.reshape(query, [-1, query.shape[-1]])
        negative = self._negatives(tf.reshape(negative, [-1]), self._closed(query), table)  # [U]
        candidates = tf.concat([ids, negative], axis=0)  # [S * P + U]
        rows = self._rows(candidates, table, training)
        mask = comparable(tf.shape(target), real, candidates)
        loss = self._task(self._closed(query), candidates, rows, self._sampled_of(candidates), mask, real)
        if self.heard is None:
            return loss
        return loss + self._told_loss(words, query, candidates, rows, mask, real, training)

    def _told_loss(
        self,
        words: Words,
        query: tf.Tensor,
        ids: tf.Tensor,
        rows: tf.Tensor,
        mask: tf.Tensor,
        real: tf.Tensor,
        training: bool,
    ) -> tf.Tensor:
        """The same for pairs that hear something, asked once more: all but the layer that hears learns nothing of it.

        Towers that learnt both at once answered silent requests worse, and others no better.
        """
        windows, pairs = tf.shape(words.place)[0], tf.shape(real)[0]
        first = tf.range(windows)[:, tf.newaxis] * (pairs // windows)
        place = tf.reshape(first + words.place, [-1])  # [R] among all pairs
        heard = tf.reshape(words.heard, [-1]) & tf.gather(real, place)
        said = tf.reshape(words.said, [-1, self._said])
        told = self.heard((tf.stop_gradient(tf.gather(query, place)), said), heard, training=training)
        own = tf.concat([tf.eye(tf.size(place), dtype=tf.bool), tf.gather(mask, place)], axis=1)  # answers come first
        ids, rows = (tf.concat([tf.gather(part, place), part], axis=0) for part in (ids, tf.stop_gradient(rows)))
        return self._task(self._closed(told), ids, rows, self._sampled_of(ids), own, heard)

    def train_step(self, inputs: Pairs) -> dict[str, tf.Tensor]:
        """TFRS' step; its gradients are dense, since Adam touches all rows anyway, unless the optimizer is lazy."""
        if self._streaming:
            ids, real = _answers(inputs)
            drawn = tf.reshape(inputs.negative, [-1])
            candidates, known = tf.concat([ids, drawn], 0), tf.concat([real, drawn >= FIRST_ITEM], 0)
            observe(self._sampled, self.optimizer.iterations, candidates, known)
        with tf.GradientTape() as tape:
            loss = self.compute_loss(inputs, training=True)
        gradients = tape.gradient(loss, self.trainable_variables, unconnected_gradients="zero")
        if not isinstance(getattr(self.optimizer, "inner_optimizer", self.optimizer), LazyAdam):
            gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]  # XLA cannot merge sparse ones
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss}

    def _negatives(self, drawn: tf.Tensor, query: tf.Tensor, table: tf.Tensor | None) -> tf.Tensor:
        """Drawn items [U + POOL * H] -> negatives [U + H], the hardest of the last ones last."""
        if not self._hard:
            return drawn
        easy, pool = drawn[: -POOL * self._hard], drawn[-POOL * self._hard :]
        return tf.concat([easy, hardest(query, pool, self._rows(pool, table, False), self._hard)], axis=0)

    def _rows(self, ids: tf.Tensor, table: tf.Tensor | None, training: bool) -> tf.Tensor:
        """[C, Q2] candidates of some items, from the table where there is one."""
        rows = self.items(ids, training=training) if table is None else tf.gather(table, ids)
        return self._candidate(rows, tf.gather(self.popularity, ids))

    def _sampled_of(self, candidates: tf.Tensor) -> tf.Tensor:
        """[C] how often each is sampled; hard ones, which come last, as often as the most frequent item."""
        sampled = tf.gather(self._sampled, candidates)
        if not self._hard:
            return sampled
        return tf.concat([sampled[: -self._hard], tf.fill([self._hard], tf.reduce_max(self._sampled))], axis=0)

    def _vectors(self, ids: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Item vectors of ids, by way of the whole table (returned too) where that is less work."""
        looked_up = ids.shape.num_elements() or self._looked_up
        if self.items.num_rows > looked_up:
            return self.items(ids, training=training), None
        table = self.items.table(training=training)
        return tf.gather(table, ids), table

    def _with_words(self, encoded: tf.Tensor, said: tf.Tensor | None, heard: tf.Tensor | None) -> tf.Tensor:
        """Encodings [B, P, Q2 - 1] of which all P hear the same, [B, D], where anything is said, [B]."""
        if self.heard is None or said is None:
            return encoded
        count = tf.shape(encoded)[1]
        alike = (tf.repeat(part[:, tf.newaxis], count, axis=1) for part in (said, heard))
        return self.heard((encoded, next(alike)), next(alike))

    @staticmethod
    def _closed(encoded: tf.Tensor) -> tf.Tensor:
        encoded = tf.cast(encoded, tf.float32)
        return tf.concat([encoded, tf.ones_like(encoded[..., :1])], axis=-1)

    @staticmethod
    def _candidate(vectors: tf.Tensor, popularity: tf.Tensor) -> tf.Tensor:
        return tf.concat([tf.cast(vectors, tf.float32), tf.cast(popularity, tf.float32)[:, tf.newaxis]], axis=-1)


def _answers(inputs: Pairs) -> tuple[tf.Tensor, tf.Tensor]:
    """[S * P] the item of each pair, and whether it is one."""
    ids = answers_of(inputs)  # [S, P]
    return tf.reshape(ids, [-1]), tf.reshape((inputs.target >= 0) & (ids >= FIRST_ITEM), [-1])
