"""Several heads that answer as one: their probabilities are averaged (Lakshminarayanan et al., 2017).

They learnt the same rows from different first weights, in different orders and with different dropout, so they err
differently where they are not sure. `fit` makes them; the export holds them all, or one that learnt from their answers.
"""

from collections.abc import Sequence

import tensorflow as tf

from tfrec_llm.text.classification.answers import Answers
from tfrec_llm.text.classification.heads import Head

LEAST = 1e-6  # a probability below this counts as this, so that its logit is finite


class Ensemble(Answers):
    """Heads of the same labels behind the face of one head.

    Args:
      members: heads, each with a temperature of its own.
    """

    def __init__(self, members: Sequence[Head]):
        super().__init__("ensemble", members[0].multi_label, members[0].bias.shape[0])
        self.members = list(members)

    def __call__(self, embedding: tf.Tensor) -> tf.Tensor:
        """[B, D] -> logits [B, labels] of the mean of the members' probabilities."""
        mean = self._mean([member.probabilities(embedding) for member in self.members])
        mean = tf.clip_by_value(mean, LEAST, 1 - LEAST)
        return tf.math.log(mean) - tf.math.log1p(-mean) if self.multi_label else tf.math.log(mean)

    def evidence(self, embedding: tf.Tensor) -> tf.Tensor:
        """[B, D] -> [B] mean of the members' evidence; the averaged probabilities sum to one and have none."""
        return self._mean([member.evidence(embedding) for member in self.members])

    def _mean(self, parts: Sequence[tf.Tensor]) -> tf.Tensor:
        return tf.add_n(parts) / len(self.members)
