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
from tfrec_llm.layers.history_encoder import HistoryEncoder
from tfrec_llm.layers.item_table import ItemTable
from tfrec_llm.layers.lazy_adam import LazyAdam
from tfrec_llm.layers.left_out import LeftOut
from tfrec_llm.layers.steps import step_count, step_index, waits_by_step, waits_of
from tfrec_llm.retrieval.catalogue_facts import smoothed_log, training_counts
from tfrec_llm.retrieval.pairs import Pairs
from tfrec_llm.retrieval.sampling import POOL, hardest, observe, sampling_probability
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
    """

    def __init__(self, settings: TwoTowersSettings, dataset: Dataset, items: ItemVectors, batch_size: int = 1024):
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
            name="query_tower",
        )
        self._hard, self._streaming = settings.hard_negatives, settings.frequencies == "streaming"
        self._basket, self._time_dropout = domain.step == "basket", settings.time_dropout
        self._looked_up = _LOOKED_UP * batch_size
        sampled = sampling_probability(counts, batch_size, settings.negatives)
        self._sampled = tf.Variable(sampled, trainable=False, name="sampled", aggregation=_FIRST)
        self.popularity = tf.Variable(smoothed_log(counts), name="popularity")
        self._task = _float32_task(settings.temperature)
        self._served = None

    def call(self, history: History, request_time: tf.Tensor | None = None, training: bool = False) -> tf.Tensor:
        """The query of each history, asked at [B] int64 seconds (0 or None: unknown): [B, Q2]."""
        end = step_count(history, step_index(history, self._basket))[:, tf.newaxis]  # [B, 1]
        if self._served is None:
            vectors, _ = self._vectors(history.item, training)
        else:
            vectors = tf.gather(self._served, history.item)
        waits = waits_of(history, request_time, basket=self._basket)[:, tf.newaxis]
        return self._query(vectors, history, end, waits, training)[:, 0]

    def freeze(self) -> None:
        """Keeps all item vectors as they are now: a served query looks them up and projects no text vectors."""
        self._served = tf.Variable(self.items.table(training=False), trainable=False, name="served")

    def query(self, history: History, request_time: tf.Tensor | None = None) -> tf.Tensor:
        """Reads histories.

        Args:
          history: [B, T] each.
          request_time: [B] int64 seconds, 0 unknown; None = unknown for all.

        Returns:
          [B, Q2] float32; times `item_table` = scores of the items.
        """
        return self(history, request_time, training=False)

    def query_without(self, history: History, left: LeftOut) -> tf.Tensor:
        """Queries of histories that lack one event; a served model's, of a domain where an event is a step.

        Args:
          history: [B, T] each.
          left: which events are missing.

        Returns:
          [B, L + 1, Q2] float32, the last one of the whole history.
        """
        return self._closed(self.encoder.without_each(tf.gather(self._served, history.item), history, left))

    def item_table(self) -> tf.Tensor:
        """All items as candidates: [N+2, Q2] float32."""
        return self._candidate(self.items.table(training=False), self.popularity)

    def compute_loss(self, inputs: Pairs, training: bool = False) -> tf.Tensor:
        """Mean cross entropy of a step's pairs among the step's candidates.

        Args:
          inputs: windows, targets and negatives.
          training: whether dropout is on.
        """
        history, target, negative = inputs
        ids, real = _answers(inputs)  # [S * P]
        vectors, table = self._vectors(history.item, training)
        step = step_index(history, self._basket)
        until = tf.gather(step, tf.maximum(target, 0), batch_dims=1)  # [S, P]
        waits = tf.gather(waits_by_step(history, step, tf.shape(step)[1]), until, batch_dims=1)
        waits = tf.where(tf.random.uniform(tf.shape(waits)) < self._time_dropout * float(training), 0, waits)
        query = self._query(vectors, history, until, waits, training)  # [S, P, Q2]
        query = tf.reshape(query, [-1, query.shape[-1]])
        negative = self._negatives(tf.reshape(negative, [-1]), query, table)  # [U]
        candidates = tf.concat([ids, negative], axis=0)  # [S * P + U]
        with _Float32():
            losses = self._task(
                query,
                self._rows(candidates, table, training),
                sample_weight=tf.cast(real, tf.float32),
                candidate_sampling_probability=self._sampled_of(candidates),
                candidate_ids=candidates,
                compute_metrics=False,
                score_mask=_comparable(tf.shape(target), real, candidates),
            )
        return losses / tf.maximum(tf.reduce_sum(tf.cast(real, tf.float32)), 1.0)

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

    def _query(
        self, vectors: tf.Tensor, history: History, until: tf.Tensor, waits: tf.Tensor, training: bool
    ) -> tf.Tensor:
        return self._closed(self.encoder(vectors, history, until, waits, training=training))

    @staticmethod
    def _closed(encoded: tf.Tensor) -> tf.Tensor:
        encoded = tf.cast(encoded, tf.float32)
        return tf.concat([encoded, tf.ones_like(encoded[..., :1])], axis=-1)

    @staticmethod
    def _candidate(vectors: tf.Tensor, popularity: tf.Tensor) -> tf.Tensor:
        return tf.concat([tf.cast(vectors, tf.float32), tf.cast(popularity, tf.float32)[:, tf.newaxis]], axis=-1)


def _answers(inputs: Pairs) -> tuple[tf.Tensor, tf.Tensor]:
    """[S * P] the item of each pair, and whether it is one."""
    ids = tf.gather(inputs.history.item, tf.maximum(inputs.target, 0), batch_dims=1)  # [S, P]
    return tf.reshape(ids, [-1]), tf.reshape((inputs.target >= 0) & (ids >= FIRST_ITEM), [-1])


def _comparable(shape: tf.Tensor, real: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
    """Which candidates each query is compared with: its own and all others that are no answer in its window.

    Args:
      shape: (S, P).
      real: [S * P] bool, which of the first candidates are answers.
      candidates: [C] item indices, first those of the pairs.

    Returns:
      [S * P, C] bool.
    """
    pairs = shape[0] * shape[1]
    answers = tf.reshape(tf.where(real, candidates[:pairs], -1), tf.stack([shape[0], shape[1], 1]))
    positive = tf.reduce_any(answers == candidates, axis=1)  # [S, C]
    offered = tf.concat([real, tf.fill(tf.shape(candidates)[:1] - pairs, True)], axis=0)  # [C]
    apart = tf.repeat(offered & ~positive, shape[1], axis=0)
    return apart | tf.eye(pairs, tf.shape(candidates)[0], dtype=tf.bool)


class _Float32:
    """Layers made inside are float32: TFRS makes some inside its task, and a loss is never half precision."""

    def __enter__(self) -> None:
        self._policy = tf.keras.mixed_precision.global_policy()
        tf.keras.mixed_precision.set_global_policy("float32")

    def __exit__(self, *_) -> None:
        tf.keras.mixed_precision.set_global_policy(self._policy)


def _float32_task(temperature: float) -> tfrs.tasks.Retrieval:
    with _Float32():
        loss = tf.keras.losses.CategoricalCrossentropy(from_logits=True, reduction="sum")
        return tfrs.tasks.Retrieval(loss=loss, temperature=temperature, remove_accidental_hits=True)
