"""Heads: an embedding -> probabilities of labels. Trained by `train`, served by `model`."""

import numpy as np
import tensorflow as tf

from tfrec_llm.layers.noise import QUIET, Noise
from tfrec_llm.text.losses import masked_binary_cross_entropy, masked_cross_entropy

HEAD_SITE = 1 << 20  # beyond the sites of any encoder
TEMPERATURES = np.geomspace(0.25, 4.0, 33)


class Head(tf.Module):
    """Standardise, perhaps a hidden layer, one linear layer, a temperature.

    Args:
      dim: D of the embeddings.
      num_labels: number of labels.
      hidden: width of a hidden layer; 0 = none.
      dropout: share of inputs and hidden units left out in training.
      multi_label: each label is decided on its own.
      seed: of the first weights.
    """

    def __init__(
        self,
        dim: int,
        num_labels: int,
        hidden: int = 0,
        dropout: float = 0.0,
        multi_label: bool = False,
        seed: int = 0,
    ):
        super().__init__(name="head")
        draw, width = np.random.default_rng(seed), hidden or dim
        self.multi_label, self._dropout = multi_label, dropout
        self.mean = tf.Variable(tf.zeros(dim), trainable=False, name="mean")
        self.scale = tf.Variable(tf.ones(dim), trainable=False, name="scale")
        self.temperature = tf.Variable(1.0, trainable=False, name="temperature")
        self.hidden = None
        if hidden:
            kernel = draw.normal(0, dim**-0.5, (dim, hidden)).astype(np.float32)
            self.hidden = (tf.Variable(kernel, name="hidden_kernel"), tf.Variable(tf.zeros(hidden), name="hidden_bias"))
        self.kernel = tf.Variable(draw.normal(0, 0.01, (width, num_labels)).astype(np.float32), name="kernel")
        self.bias = tf.Variable(tf.zeros(num_labels), name="bias")

    def standardise(self, embeddings: np.ndarray) -> None:
        """Takes mean and deviation of each column from training embeddings [R, D]."""
        self.mean.assign(embeddings.mean(0))
        self.scale.assign(1 / np.maximum(embeddings.std(0), 1e-6))

    def __call__(self, embedding: tf.Tensor, noise: Noise = QUIET) -> tf.Tensor:
        """[B, D] -> logits [B, labels]; dropout draws from `noise`."""
        x = noise.drop((tf.cast(embedding, tf.float32) - self.mean) * self.scale, self._dropout, HEAD_SITE)
        if self.hidden:
            x = noise.drop(tf.nn.gelu(x @ self.hidden[0] + self.hidden[1]), self._dropout, HEAD_SITE + 1)
        return x @ self.kernel + self.bias

    def probabilities(self, embedding: tf.Tensor) -> tf.Tensor:
        """[B, D] -> calibrated probabilities [B, labels]; they sum to one unless the head is multi-label."""
        logits = self(embedding) / self.temperature
        return tf.sigmoid(logits) if self.multi_label else tf.nn.softmax(logits)

    def calibrate(self, embeddings: np.ndarray, targets: np.ndarray) -> None:
        """Sets the temperature that makes held-out targets most likely (Guo et al., 2017).

        Args:
          embeddings: [R, D]; targets: [R] label numbers, or [R, labels] bool where multi-label.
        """
        logits = self(tf.constant(embeddings)).numpy()
        losses = [negative_log_likelihood(logits / t, targets, self.multi_label) for t in TEMPERATURES]
        self.temperature.assign(TEMPERATURES[int(np.argmin(losses))])


def undecided(dim: int, num_labels: int, hidden: int = 0) -> Head:
    """A head that finds all labels equally likely, where nothing could be learnt."""
    head = Head(dim, num_labels, hidden)
    head.kernel.assign(tf.zeros_like(head.kernel))
    return head


def negative_log_likelihood(logits: np.ndarray, targets: np.ndarray, multi_label: bool) -> float:
    """Mean over rows (and labels, where multi-label) of minus the log probability of what is true."""
    if multi_label:
        return float(np.mean(np.logaddexp(0, np.where(targets, -logits, logits))))
    peak = logits.max(-1, keepdims=True)
    total = np.log(np.exp(logits - peak).sum(-1)) + peak[:, 0]
    return float(np.mean(total - logits[np.arange(len(targets)), targets]))


def row_weights(targets: np.ndarray, num_labels: int) -> np.ndarray:
    """Weights of rows [R], mean 1: a label counts with the root of its number of rows, so that rare ones are heard."""
    counts = np.maximum(np.bincount(targets, minlength=num_labels), 1)
    weights = counts[targets] ** -0.5
    return (weights / weights.mean()).astype(np.float32)


class HeadModel(tf.keras.Model):
    """A head as a compiled Keras model; its batches are (embedding [B, D], target, row weight [B])."""

    def __init__(
        self, head: Head, learning_rate: float, jit_compile: bool = False, label_smoothing: float = 0.0, seed: int = 0
    ):
        super().__init__(name="head_model")
        self.head, self._seed = head, seed
        cost = masked_binary_cross_entropy if head.multi_label else masked_cross_entropy

        def loss(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
            targets = targets if head.multi_label else tf.cast(tf.reshape(targets, [-1]), tf.int32)
            return cost(logits, targets, tf.ones(tf.shape(logits)[0]), label_smoothing)

        self.compile(tf.keras.optimizers.Adam(learning_rate), loss, weighted_metrics=[], jit_compile=jit_compile)

    def call(self, embedding: tf.Tensor, training: bool = False) -> tf.Tensor:
        """[B, D] -> logits [B, labels] float32."""
        return self.head(embedding, Noise(self._seed, self.optimizer.iterations) if training else QUIET)
