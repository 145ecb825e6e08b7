"""Item vectors: what an item's id has taught us plus what its text says.

Behaviour and retrieval read their items from this layer and score against its table, so input and output share weights.
"""

import numpy as np
import tensorflow as tf

from tfrec_llm.layers.noise import Noise
from tfrec_llm.types import FIRST_ITEM

_SITE = 101  # of the noise


class ItemTable(tf.keras.layers.Layer):
    """One vector per item index: an id embedding, plus the projected text vector where there are texts.

    Args:
      num_rows: N+2; rows 0 (padding) and 1 (unknown) come out as zeros.
      dim: width of an item vector.
      text: [N+2, D] text vectors, or None.
      id_dropout: share of items whose id part is left out of a training step, so that the text part learns to stand
        alone, as it must for an item without events. An item whose text vector is zero keeps its id.
      scale: standard deviation of the id embeddings at the start.
    """

    def __init__(
        self,
        num_rows: int,
        dim: int,
        text: np.ndarray | None = None,
        id_dropout: float = 0.0,
        scale: float = 0.05,
        **kwargs,
    ):
        super().__init__(**{"dtype": tf.float32, **kwargs})
        if text is not None and len(text) != num_rows:
            raise ValueError(f"expected one text vector per row, {num_rows}, got {len(text)}: rebuild the text stage.")
        self.num_rows, self.dim, self.id_dropout, self.scale = num_rows, dim, id_dropout, scale
        self._text = None if text is None else np.asarray(text, np.float32)
        self._mute = None if text is None else ~self._text.any(axis=1)  # [N+2] without a text

    def build(self, input_shape=None):
        """Makes the id embeddings [N+2, dim] and, with texts, the projection [D, dim]."""
        start = tf.keras.initializers.RandomNormal(stddev=self.scale)
        self.ids = self.add_weight("ids", (self.num_rows, self.dim), initializer=start)
        self.projection = None
        if self._text is not None:
            self.text = self.add_weight(
                "text", self._text.shape, initializer=lambda *_, **__: tf.constant(self._text), trainable=False
            )
            self.projection = self.add_weight(
                "projection",
                (self._text.shape[1], self.dim),
                initializer=tf.keras.initializers.RandomNormal(stddev=self.scale),
            )
        self.built = True

    def call(self, indices, training: bool = False, noise: Noise | None = None):
        """Vectors of some items.

        Args:
          indices: [...] int32 item indices.
          training: leaves id parts out at random, each occurrence for itself.
          noise: where the draws come from; TensorFlow's global generator if None.

        Returns:
          [..., dim] float32; zeros for padding and unknown.
        """
        vectors = self._drop(tf.gather(self.ids, indices), indices, training, noise)
        if self.projection is not None:
            vectors += tf.tensordot(tf.gather(self.text, indices), self.projection, 1)
        return vectors * tf.cast(indices >= FIRST_ITEM, vectors.dtype)[..., None]

    def table(self, training: bool = False, noise: Noise | None = None):
        """All vectors.

        Args:
          training: leaves the id parts of some items out of this step.
          noise: where the draws come from; TensorFlow's global generator if None.

        Returns:
          [N+2, dim] float32; rows 0 and 1 are zeros.
        """
        if not self.built:
            self.build()
        vectors = self._drop(tf.convert_to_tensor(self.ids), tf.range(self.num_rows), training, noise)
        if self.projection is not None:
            vectors += tf.matmul(self.text, self.projection)
        return vectors * tf.cast(tf.range(self.num_rows) >= FIRST_ITEM, vectors.dtype)[:, None]

    def get_config(self):
        """Arguments of the constructor; the text vectors are weights and not among them."""
        return {
            **super().get_config(),
            "num_rows": self.num_rows,
            "dim": self.dim,
            "id_dropout": self.id_dropout,
            "scale": self.scale,
        }

    def _drop(self, ids: tf.Tensor, indices: tf.Tensor, training: bool, noise: Noise | None) -> tf.Tensor:
        if not training or not self.id_dropout or self._text is None:
            return ids
        shape = tf.shape(ids)[:-1]
        draws = tf.random.uniform(shape) if noise is None else noise.uniform(shape, _SITE)
        kept = (draws >= self.id_dropout) | tf.gather(self._mute, indices)
        return ids * tf.cast(kept, ids.dtype)[..., None]
