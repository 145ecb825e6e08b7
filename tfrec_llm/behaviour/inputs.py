"""What the sequence model reads at each event: the item, what was done with it, and the wait before it."""

import tensorflow as tf

from tfrec_llm.layers.noise import QUIET
from tfrec_llm.layers.steps import GAP_BUCKETS, gap_buckets
from tfrec_llm.types import UNKNOWN, History


class EventInputs(tf.keras.layers.Layer):
    """Joins item vector, event type and gap of each event.

    Args:
      num_events: V+2 rows of the event-type embedding.
      dim: width of each of the two side embeddings.
      item_dropout: share of the item vector's values left out in training.
      side_dropout: share of events whose type, and of events whose gap, is left out in training, so that a request
        without them is nothing new.
      embedding_dropout: share of a sequence's items that are left out in training wherever they stand in it, as if they
        were unknown (Gal and Ghahramani, 2016).
      num_rows: N+2, rows of the item table.
    """

    def __init__(
        self,
        num_events: int,
        dim: int,
        item_dropout: float,
        side_dropout: float,
        embedding_dropout: float = 0.0,
        num_rows: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.item_dropout, self.side_dropout = item_dropout, side_dropout
        self.embedding_dropout, self.num_rows = embedding_dropout, num_rows
        self.event = tf.keras.layers.Embedding(num_events, dim, name="event")
        self.gap = tf.keras.layers.Embedding(GAP_BUCKETS, dim, name="gap")

    def call(self, items, history: History, noise=QUIET):
        """Event vectors.

        Args:
          items: [B, T, dim] item vectors.
          history: [B, T] each.
          noise: draws what is left out in training.

        Returns:
          [B, T, I].
        """
        shape = tf.shape(history.item)
        event = tf.where(noise.keep(shape, self.side_dropout, 201), tf.maximum(history.event, UNKNOWN), UNKNOWN)
        gap = tf.where(noise.keep(shape, self.side_dropout, 202), gap_buckets(history), 0)
        if self.embedding_dropout:
            kept = noise.keep_each(history.item, self.num_rows, self.embedding_dropout, 204)
            items *= tf.cast(kept, items.dtype)[..., None]
        items = noise.drop(items, self.item_dropout, 203)
        return tf.concat([items, self.event(event), self.gap(gap)], axis=-1)

    def with_gap(self, inputs, gap):
        """Event vectors with another wait before them.

        Args:
          inputs: [..., I] of `call`.
          gap: [...] int32 of `steps.bucket`.

        Returns:
          [..., I].
        """
        return tf.concat([inputs[..., : -self.gap.output_dim], self.gap(gap)], axis=-1)
