"""What the moment of a question says about its answer: the wait since the last event changes what is asked for.

Behaviour model and query tower share this layer. In training every event is answered at its own time, so the wait
before it is the question's; in serving it is the time from the newest event of the history to `request_time`.
"""

import tensorflow as tf

from tfrec_llm.layers.steps import GAP_BUCKETS

_DIM = 32  # width of a wait's embedding


class RequestTime(tf.keras.layers.Layer):
    """A factor and a shift for each bucket of the wait, and what state and wait say together.

    The first are the "latent cross" of Beutel et al. (2018), "Latent cross: making use of context in recurrent
    recommender systems"; the last is a hidden layer over both, added to the state. It begins as the identity. Bucket 0,
    the unknown wait, is learnt like the others: training must show it some.

    Args:
      longest: bucket that longer waits count as, see `steps.longest_wait`.
    """

    def __init__(self, longest: int = GAP_BUCKETS - 1, **kwargs):
        super().__init__(**kwargs)
        self.longest = longest

    def build(self, input_shape):
        """Makes the tables of factors and shifts [GAP_BUCKETS, H] and of embeddings, and the hidden layer."""
        units = int(input_shape[-1])
        self.factor = self.add_weight("factor", (GAP_BUCKETS, units), initializer="zeros")
        self.shift = self.add_weight("shift", (GAP_BUCKETS, units), initializer="zeros")
        self.wait = self.add_weight("wait", (GAP_BUCKETS, _DIM), initializer="uniform")
        self.together = self.add_weight("together", (units + _DIM, units), initializer="zeros")
        super().build(input_shape)

    def get_config(self):
        """Keras: what rebuilds this layer."""
        return super().get_config() | {"longest": self.longest}

    def call(self, states, waits):
        """States as they are after a wait.

        Args:
          states: [..., H].
          waits: [...] int32 of `steps.bucket`.

        Returns:
          [..., H].
        """
        waits = tf.minimum(waits, self.longest)
        chosen = tf.one_hot(waits, GAP_BUCKETS, dtype=states.dtype)  # a product: its gradient is dense

        def of(table):
            return tf.tensordot(chosen, tf.cast(table, states.dtype), 1)

        both = tf.concat([states, of(self.wait)], axis=-1)
        hidden = tf.nn.gelu(tf.tensordot(both, tf.cast(self.together, states.dtype), 1))
        return states * (1 + of(self.factor)) + of(self.shift) + hidden
