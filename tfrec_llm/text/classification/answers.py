"""What every kind of head can be asked: probabilities that can be believed, decisions, and whether any label fits."""

import numpy as np
import tensorflow as tf

from tfrec_llm.text.classification.scope import ALL, scope_scores, scope_threshold

TEMPERATURES = np.geomspace(0.25, 4.0, 33)
EVEN = 0.5  # the cut where nothing says a better one
PULL = 10  # rows of a label that weigh as much as all labels' mean


class Answers(tf.Module):
    """A function from embeddings to logits, with a temperature, a threshold and, where multi-label, cuts.

    A subclass gives `__call__(embedding [B, D]) -> logits [B, labels]`.

    Args:
      name: of the module.
      multi_label: each label is decided on its own.
      num_labels: number of labels.
    """

    def __init__(self, name: str, multi_label: bool, num_labels: int):
        super().__init__(name=name)
        self.multi_label = multi_label
        self.temperature = tf.Variable(1.0, trainable=False, name="temperature")
        self.threshold = tf.Variable(ALL, trainable=False, name="threshold")
        if multi_label:
            self.cuts = tf.Variable(tf.fill([num_labels], EVEN), trainable=False, name="cuts")

    def probabilities(self, embedding: tf.Tensor) -> tf.Tensor:
        """[B, D] -> calibrated probabilities [B, labels]; they sum to one unless the head is multi-label."""
        return self._stated(self(embedding) / self.temperature)

    def raw_probabilities(self, embedding: tf.Tensor) -> tf.Tensor:
        """The same without the temperature."""
        return self._stated(self(embedding))

    def decisions(self, probabilities: np.ndarray) -> np.ndarray:
        """What stated probabilities [R, labels] mean: the likeliest label [R] int32, or [R, labels] bool."""
        return decided(probabilities, self.cuts.numpy() if self.multi_label else None)

    def evidence(self, embedding: tf.Tensor) -> tf.Tensor:
        """[B, D] -> [B] evidence that a text has one of the labels, as `scope.scope_scores`."""
        return tf.reduce_logsumexp(self(embedding), -1)

    def known(self, embedding: tf.Tensor) -> tf.Tensor:
        """[B, D] -> [B] bool: whether a text has any of the labels."""
        return self.evidence(embedding) >= self.threshold

    def calibrate(self, embeddings: np.ndarray, targets: np.ndarray, none_share: float = 0.0) -> None:
        """Sets the temperature that makes held-out targets most likely (Guo et al., 2017), threshold and cuts.

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
        if self.multi_label:
            self.cuts.assign(best_cuts(self._stated(logits / self.temperature).numpy(), targets))

    def _stated(self, logits: tf.Tensor) -> tf.Tensor:
        return tf.sigmoid(logits) if self.multi_label else tf.nn.softmax(logits)


def decided(probabilities: np.ndarray, cuts: np.ndarray | None = None) -> np.ndarray:
    """Decisions of probabilities [R, labels]: labels above their cuts [R, labels] bool; without cuts the likeliest."""
    return probabilities.argmax(-1).astype(np.int32) if cuts is None else probabilities > cuts


def best_cuts(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The probability above which each label is decided for, so that its F1 is the best it can be.

    That is half of the best F1 (Lipton et al., 2014), if probabilities can be believed: a rare label that is never more
    probable than not would otherwise never be said. A label's best F1 is known the less the fewer rows have it, so it
    is drawn towards the mean of all labels.

    Args:
      probabilities: [R, labels] of rows that were not learnt.
      targets: [R, labels] bool.

    Returns:
      [labels] float32 in (0, 0.5]; 0.5 for all where no row has any label.
    """
    counts, order = targets.sum(0), np.argsort(-probabilities, axis=0, kind="stable")
    if not counts.any():
        return np.full(len(counts), EVEN, np.float32)
    right = np.cumsum(np.take_along_axis(targets, order, axis=0), axis=0)
    said = np.arange(1, len(targets) + 1)[:, None]
    best = (2 * right / (said + counts)).max(0)  # [labels]
    known = (counts * best + PULL * best[counts > 0].mean()) / (counts + PULL)
    return (known / 2).astype(np.float32)


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
