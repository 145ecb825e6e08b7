"""What the moment of a question says about its answer: the wait since the last event changes what is asked for.

Behaviour model and query tower share this layer. In training every event is answered at its own time, so the wait
before it is the question's; in serving it is the time from the newest event of the history to `request_time`.
"""

import tensorflow as tf

from tfrec_llm.layers.steps import GAP_BUCKETS


class RequestTime(tf.keras.layers.Layer):
    """A factor and a shift for each bucket of the wait: "latent cross" (Beutel et al., 2018, "Latent cross: making use
    of context in recurrent recommender systems").

    It begins as the identity. Bucket 0, the unknown wait, is learnt like the others: training must show it some.
    """

    def build(self, input_shape):
        """Makes the factors' and the shifts' tables, [GAP_BUCKETS, H] each."""
        shape = (GAP_BUCKETS, int(input_shape[-1]))
        self.factor = self.add_weight("factor", shape, initializer="zeros")
        self.shift = self.add_weight("shift", shape, initializer="zeros")
        super().build(input_shape)

    def call(self, states, waits):
        """States as they are after a wait.

        Args:
          states: [..., H].
          waits: [...] int32 of `steps.bucket`.

        Returns:
          [..., H].
        """
        chosen = tf.one_hot(waits, GAP_BUCKETS, dtype=states.dtype)  # a product: its gradient is dense
        factor, shift = (tf.tensordot(chosen, tf.cast(table, states.dtype), 1) for table in (self.factor, self.shift))
        return states * (1 + factor) + shift
