"""What the towers read of a history: recency-weighted means of item vectors, then a small MLP.

No recurrence: after any step the encoding is a handful of weighted means over the events before it, so all positions
of a sequence are encoded at once, and a served history costs one pass. The weights are a softmax of a learned
importance of the event, minus a learned decay per step, minus a learned decay per doubling of the time gone by; one
more place in each softmax holds a learned vector, which is all there is where the history is empty.
"""

import math

import tensorflow as tf

from tfrec_llm.layers.left_out import LeftOut
from tfrec_llm.layers.request_time import RequestTime
from tfrec_llm.layers.steps import GAP_BUCKETS, gap_buckets, step_index
from tfrec_llm.types import PADDING, History

_NEGATIVE, _LARGEST = -1e9, 60.0  # of what is not read, and of a logit


class HistoryEncoder(tf.keras.layers.Layer):
    """Histories -> query vectors.

    Args:
      dim: D, width of the item vectors and of the encoding.
      num_events: V + 2, size of the event-type table.
      basket: events of one second are one step and count as their mean.
      half_lives: one recency-weighted mean for each; after so many steps an event weighs half (learned from there).
      hidden: width of the MLP's hidden layer.
      window: newest events that are read.
      dropout: share of the hidden units left out in training.
      longest_wait: bucket that longer waits before a question count as.
    """

    def __init__(
        self,
        dim: int,
        num_events: int,
        basket: bool = False,
        half_lives: tuple[float, ...] = (0.5, 2.0, 8.0, 40.0),
        hidden: int = 256,
        window: int = 100,
        dropout: float = 0.0,
        longest_wait: int = GAP_BUCKETS - 1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.dim, self.num_events, self.basket = dim, num_events, basket
        self.half_lives, self.hidden, self.window, self.dropout = tuple(half_lives), hidden, window, dropout
        self.longest_wait = longest_wait
        heads = len(self.half_lives)
        keras, policy = tf.keras.layers, self.dtype_policy
        self._event = keras.Embedding(num_events, dim, "zeros", name="event", dtype=policy)
        self._gap = keras.Embedding(GAP_BUCKETS, dim, "zeros", name="gap", dtype=policy)
        self._importance = keras.Dense(heads, kernel_initializer="zeros", name="importance", dtype=policy)
        self._hidden = keras.Dense(hidden, activation="gelu", name="hidden", dtype=policy)
        self._out = keras.Dense(dim, kernel_initializer="zeros", name="out", dtype=policy)
        self._drop = keras.Dropout(dropout, dtype=policy)
        self._request = RequestTime(longest_wait, name="request", dtype=policy)

    def build(self, input_shape):
        """Adds the decays, the learned empty history and the mix of the means."""
        heads = len(self.half_lives)
        rates = [math.log(math.expm1(math.log(2.0) / half_life)) for half_life in self.half_lives]
        self._decay = self._float32("decay", rates)
        self._time_decay = self._float32("time_decay", [0.0] * heads)
        self._empty_weight = self._float32("empty_weight", [-2.0] * heads)
        self._empty = self.add_weight("empty", [heads, self.dim], initializer="zeros")
        self._mix = self.add_weight("mix", [heads, self.dim], initializer=tf.constant_initializer(1.0 / heads))
        super().build(input_shape)

    def call(
        self,
        vectors: tf.Tensor,
        history: History,
        until: tf.Tensor,
        waits: tf.Tensor | None = None,
        training: bool | None = None,
    ) -> tf.Tensor:
        """Encodes the events before the given steps.

        Args:
          vectors: [B, T, D] item vectors of the history.
          history: [B, T] each.
          until: [B, P] step indices; only events of earlier steps are read.
          waits: [B, P] int32 of `steps.bucket`, the time since then, 0 unknown; None = unknown for all.
          training: whether dropout is on.

        Returns:
          [B, P, D].
        """
        values = vectors + self._event(tf.cast(history.event, tf.int32)) + self._gap(gap_buckets(history))  # [B, T, D]
        weights = self._weights(values, history, until)  # [B, P, J, T]
        kind = _summing(values.dtype)
        summed = tf.einsum("bpjt,btd->bpjd", tf.cast(weights, kind), tf.cast(values, kind))  # [B, P, J, D]
        means = tf.cast(self._means(summed, weights), values.dtype)
        return self._request(self._encoded(means, training), tf.zeros_like(until) if waits is None else waits)

    def without_each(self, vectors: tf.Tensor, history: History, left: LeftOut) -> tf.Tensor:
        """Encodes whole histories that lack one event, where an event is a step of its own.

        Args:
          vectors: [B, T, D] item vectors of the history.
          history: [B, T] each.
          left: which events are missing.

        Returns:
          [B, L + 1, D], as `call` on such histories.
        """
        kinds = vectors + self._event(tf.cast(history.event, tf.int32))
        values = kinds + self._gap(gap_buckets(history))  # [B, T, D]
        after = tf.maximum(tf.minimum(left.gone + 1, tf.shape(vectors)[1] - 1), 0)  # [B, L + 1]
        changed = tf.gather(kinds, after, batch_dims=1) + self._gap(left.gap)  # [B, L, D]
        here = tf.range(tf.shape(vectors)[1]) == after[..., tf.newaxis]  # [B, L, T]
        own = tf.transpose(self._own(values), [0, 2, 1])[:, tf.newaxis]  # [B, 1, J, T]
        own = tf.where(here[:, :, tf.newaxis], self._own(changed)[..., tf.newaxis], own)  # [B, L, J, T]
        read = left.kept & (left.age < self.window)
        weights = self._weigh(own, tf.cast(left.age, tf.float32), _doublings(history.time, read), read)  # [B, L, J, T]
        cast = tf.cast(weights, values.dtype)
        summed = tf.einsum("bljt,btd->bljd", cast, values)
        there = tf.cast(here[:, :, tf.newaxis], values.dtype)
        moved = tf.reduce_sum(cast * there, axis=-1, keepdims=True)  # [B, L, J, 1]
        summed += moved * (changed - tf.gather(values, after, batch_dims=1))[:, :, tf.newaxis]
        return self._request(self._encoded(self._means(summed, weights), False), left.request)

    def _encoded(self, means: tf.Tensor, training: bool | None) -> tf.Tensor:
        """[B, P, J, D] means of the events -> [B, P, D]."""
        flat = tf.reshape(means, tf.concat([tf.shape(means)[:2], [len(self.half_lives) * self.dim]], 0))
        direct = tf.reduce_sum(means * tf.cast(self._mix, means.dtype), axis=2)
        return direct + self._out(self._drop(self._hidden(flat), training=training))

    def _weights(self, values: tf.Tensor, history: History, until: tf.Tensor) -> tf.Tensor:
        """What the events weigh: [B, P, J, T] float32, as of `_weigh`."""
        steps = step_index(history, self.basket)  # [B, T]
        until = until[:, :, tf.newaxis]  # [B, P, 1]
        before = (steps[:, tf.newaxis, :] < until) & (history.item != PADDING)[:, tf.newaxis, :]  # [B, P, T]
        seen = tf.reduce_sum(tf.cast(before, tf.int32), axis=-1, keepdims=True)  # [B, P, 1]
        read = before & (seen - tf.range(tf.shape(steps)[1]) <= self.window)  # [B, P, T]
        age = tf.cast(until - 1 - steps[:, tf.newaxis, :], tf.float32)  # [B, P, T]
        own = self._own(values)  # [B, T, J]
        if self.basket:
            own -= tf.math.log(_lines(history, steps))[:, :, tf.newaxis]
        own = tf.transpose(own, [0, 2, 1])[:, tf.newaxis]  # [B, 1, J, T]
        return self._weigh(own, age, _doublings(history.time, read), read)

    def _own(self, values: tf.Tensor) -> tf.Tensor:
        """[..., D] event vectors -> [..., J] float32, what they count by themselves, between -4 and 4."""
        return 4.0 * tf.tanh(tf.cast(self._importance(values), tf.float32) / 4.0)

    def _weigh(self, own: tf.Tensor, age: tf.Tensor, doublings: tf.Tensor, read: tf.Tensor) -> tf.Tensor:
        """Weights from own [B, 1 or P, J, T] and age, doublings and read [B, P, T]: [B, P, J, T], their sum not yet 1.

        No logit is large, so none has to be taken from the others first: a softmax reads all of them five times.
        """
        logits = own - tf.nn.softplus(self._decay)[:, tf.newaxis] * age[:, :, tf.newaxis]
        logits -= self._time_decay[:, tf.newaxis] * doublings[:, :, tf.newaxis]  # [B, P, J, T]
        return tf.exp(tf.where(read[:, :, tf.newaxis], tf.minimum(logits, _LARGEST), _NEGATIVE))

    def _means(self, summed: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Sums of weighted events [B, P, J, D] and the weights [B, P, J, T] -> means, the learned vector among them."""
        empty = tf.exp(tf.maximum(self._empty_weight, -_LARGEST))[:, tf.newaxis]  # [J, 1]
        share = 1.0 / (tf.reduce_sum(weights, axis=-1, keepdims=True) + empty)  # [B, P, J, 1]
        return summed * tf.cast(share, summed.dtype) + tf.cast(share * empty, summed.dtype) * tf.cast(
            self._empty, summed.dtype
        )

    def _float32(self, name: str, values: list[float]) -> tf.Variable:
        """A weight that stays float32 under mixed precision."""
        start = tf.constant_initializer(values)
        return self.add_weight(name, [len(values)], "float32", start, experimental_autocast=False)

    def get_config(self) -> dict:
        """Keras: what rebuilds this layer."""
        names = ("dim", "num_events", "basket", "half_lives", "hidden", "window", "dropout", "longest_wait")
        return super().get_config() | {name: getattr(self, name) for name in names}


def _summing(dtype: tf.DType) -> tf.DType:
    """What weighted events are summed in: their weights are no shares yet, and float16 ends at 65,504."""
    return tf.float32 if dtype == tf.float16 else dtype


def _doublings(time: tf.Tensor, read: tf.Tensor) -> tf.Tensor:
    """log2(1 + seconds) between each event and the newest one read, 0 where a time is unknown: [B, P, T]."""
    time = time[:, tf.newaxis, :]  # [B, 1, T]
    newest = tf.reduce_max(tf.where(read, time, 0), axis=-1, keepdims=True)  # [B, P, 1]
    seconds = tf.where((time > 0) & read, tf.maximum(newest - time, 0), 0)  # [B, P, T]
    return tf.math.log1p(tf.cast(seconds, tf.float32)) / math.log(2.0)


def _lines(history: History, steps: tf.Tensor) -> tf.Tensor:
    """How many events share each event's step, as float32 [B, T]: a step counts as the mean of its events."""
    batch, width = tf.unstack(tf.shape(steps))
    cell = tf.range(batch)[:, tf.newaxis] * width + tf.minimum(steps, width - 1)  # [B, T]
    real = tf.cast(history.item != PADDING, tf.float32)  # padding repeats the last step's number
    return tf.maximum(tf.gather(tf.math.unsorted_segment_sum(real, cell, batch * width), cell), 1.0)
