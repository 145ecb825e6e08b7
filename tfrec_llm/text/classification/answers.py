"""What every kind of head can be asked: probabilities that can be believed, and whether any label fits at all."""

import numpy as np
import tensorflow as tf

from tfrec_llm.text.classification.scope import ALL, scope_scores, scope_threshold

TEMPERATURES = np.geomspace(0.25, 4.0, 33)


class Answers(tf.Module):
    """A function from embeddings to logits, with a temperature and a threshold.

    A subclass gives `__call__(embedding [B, D]) -> logits [B, labels]`.

    Args:
      name: of the module.
      multi_label: each label is decided on its own.
    """

    def __init__(self, name: str, multi_label: bool):
        super().__init__(name=name)
        self.multi_label = multi_label
        self.temperature = tf.Variable(1.0, trainable=False, name="temperature")
        self.threshold = tf.Variable(ALL, trainable=False, name="threshold")

    def probabilities(self, embedding: tf.Tensor) -> tf.Tensor:
        """[B, D] -> calibrated probabilities [B, labels]; they sum to one unless the head is multi-label."""
        return self._stated(self(embedding) / self.temperature)

    def raw_probabilities(self, embedding: tf.Tensor) -> tf.Tensor:
        """The same without the temperature."""
        return self._stated(self(embedding))

    def evidence(self, embedding: tf.Tensor) -> tf.Tensor:
        """[B, D] -> [B] evidence that a text has one of the labels, as `scope.scope_scores`."""
        return tf.reduce_logsumexp(self(embedding), -1)

    def known(self, embedding: tf.Tensor) -> tf.Tensor:
        """[B, D] -> [B] bool: whether a text has any of the labels."""
        return self.evidence(embedding) >= self.threshold

    def calibrate(self, embeddings: np.ndarray, targets: np.ndarray, none_share: float = 0.0) -> None:
        """Sets the temperature that makes held-out targets most likely (Guo et al., 2017), and the threshold.

        Args:
          embeddings: [R, D].
          targets: [R] label numbers, or [R, labels] bool where multi-label.
          none_share: of these rows that may count as having none of the labels; 0 = none ever does.
        """
        evidence = self.evidence(tf.constant(embeddings)).numpy()
        self.settle(self(tf.constant(embeddings)).numpy(), targets, none_share, evidence)

    def settle(
        self, logits: np.ndarray, targets: np.ndarray, none_share: float = 0.0, evidence: np.ndarray | None = None
    ) -> None:
        """As `calibrate`, from logits [R, labels] that held-out rows were given.

        Args:
          logits, targets, none_share: one row each.
          evidence: [R] of the rows; as of their logits if None.
        """
        self.temperature.assign(best_temperature(logits, targets, self.multi_label)[0])
        self.threshold.assign(scope_threshold(scope_scores(logits) if evidence is None else evidence, none_share))

    def _stated(self, logits: tf.Tensor) -> tf.Tensor:
        return tf.sigmoid(logits) if self.multi_label else tf.nn.softmax(logits)


def best_temperature(logits: np.ndarray, targets: np.ndarray, multi_label: bool) -> tuple[float, float]:
    """The divisor of the logits that makes the targets likeliest, and their negative log likelihood at it."""
    losses = [negative_log_likelihood(logits / t, targets, multi_label) for t in TEMPERATURES]
    best = int(np.argmin(losses))
    return float(TEMPERATURES[best]), losses[best]


def negative_log_likelihood(logits: np.ndarray, targets: np.ndarray, multi_label: bool) -> float:
    """Mean over rows (and labels, where multi-label) of minus the log probability of what is true."""
    if multi_label:
        return float(np.mean(np.logaddexp(0, np.where(targets, -logits, logits))))
    return float(np.mean(scope_scores(logits) - logits[np.arange(len(targets)), targets]))
