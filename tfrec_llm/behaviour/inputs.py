"""What the sequence model reads at each event: the item, what was done with it, and the wait before it."""

import tensorflow as tf

from tfrec_llm.layers.steps import GAP_BUCKETS, gap_buckets
from tfrec_llm.types import History


class EventInputs(tf.keras.layers.Layer):
    """Joins item vector, event type and gap of each event.

    Args:
      num_events: V+2 rows of the event-type embedding.
      dim: width of each of the two side embeddings.
      item_dropout: share of the item vector's values left out in training.
      side_dropout: share of events whose type, and of events whose gap, is left out in training, so that a request
        without them is nothing new.
    """

    def __init__(self, num_events: int, dim: int, item_dropout: float, side_dropout: float, **kwargs):
        super().__init__(**kwargs)
        self.side_dropout = side_dropout
        self.dropout = tf.keras.layers.Dropout(item_dropout, name="dropout")
        self.event = tf.keras.layers.Embedding(num_events, dim, name="event")
        self.gap = tf.keras.layers.Embedding(GAP_BUCKETS, dim, name="gap")

    def call(self, items, history: History, training: bool = False):
        """[B, T, I] from item vectors [B, T, dim] and the history [B, T]."""
        event = self._drop(tf.maximum(history.event, 1), 1, training)
        gap = self._drop(gap_buckets(history), 0, training)
        return tf.concat([self.dropout(items, training=training), self.event(event), self.gap(gap)], axis=-1)

    def _drop(self, indices, unknown: int, training: bool):
        if not training or not self.side_dropout:
            return indices
        return tf.where(tf.random.uniform(tf.shape(indices)) < self.side_dropout, unknown, indices)
