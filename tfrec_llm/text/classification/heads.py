"""Heads: an embedding -> probabilities of labels. Trained by `train`, served by `model`."""

import numpy as np
import tensorflow as tf

from tfrec_llm.config import Regularise
from tfrec_llm.layers.noise import QUIET, Noise
from tfrec_llm.text.classification.adversarial import worst_perturbation
from tfrec_llm.text.classification.answers import Answers
from tfrec_llm.text.classification.losses import divergence, label_loss

STILL = 1e-6  # deviation of a column that says nothing
LEAST_DEVIATION = 0.1  # of a column, as a share of the median one
HEAD_SITE = 1 << 20  # beyond the sites of any encoder
SECOND_PASS = 7919  # added to the seed where a step runs twice with different dropout


class Head(Answers):
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
        super().__init__("head", multi_label, num_labels)
        draw, width = np.random.default_rng(seed), hidden or dim
        self._dropout = dropout
        self.mean = tf.Variable(tf.zeros(dim), trainable=False, name="mean")
        self.scale = tf.Variable(tf.ones(dim), trainable=False, name="scale")
        self.hidden = None
        if hidden:
            kernel = draw.normal(0, dim**-0.5, (dim, hidden)).astype(np.float32)
            self.hidden = (tf.Variable(kernel, name="hidden_kernel"), tf.Variable(tf.zeros(hidden), name="hidden_bias"))
        self.kernel = tf.Variable(draw.normal(0, 0.01, (width, num_labels)).astype(np.float32), name="kernel")
        self.bias = tf.Variable(tf.zeros(num_labels), name="bias")

    def standardise(self, embeddings: np.ndarray) -> None:
        """Takes mean and deviation of each column from training embeddings [R, D].

        A column that is still (MiniLM has three) may move once the encoder is trained: divided by its own deviation it
        would then be louder than all others together, so none is taken for much stiller than the median moving one.
        """
        deviation = embeddings.std(0)
        moving = deviation[deviation > STILL]
        least = LEAST_DEVIATION * float(np.median(moving)) if len(moving) else 1.0
        self.mean.assign(embeddings.mean(0))
        self.scale.assign(1 / np.maximum(deviation, least))

    def __call__(self, embedding: tf.Tensor, noise: Noise = QUIET) -> tf.Tensor:
        """[B, D] -> logits [B, labels]; dropout draws from `noise`."""
        x = noise.drop((tf.cast(embedding, tf.float32) - self.mean) * self.scale, self._dropout, HEAD_SITE)
        if self.hidden:
            x = noise.drop(tf.nn.gelu(x @ self.hidden[0] + self.hidden[1]), self._dropout, HEAD_SITE + 1)
        return x @ self.kernel + self.bias


def undecided(dim: int, num_labels: int, hidden: int = 0) -> Head:
    """A head that finds all labels equally likely, where nothing could be learnt."""
    head = Head(dim, num_labels, hidden)
    head.kernel.assign(tf.zeros_like(head.kernel))
    return head


def row_weights(targets: np.ndarray, num_labels: int) -> np.ndarray:
    """Weights of rows [R], mean 1: a label counts with the root of its number of rows, so that rare ones are heard."""
    counts = np.maximum(np.bincount(targets, minlength=num_labels), 1)
    weights = counts[targets] ** -0.5
    return (weights / weights.mean()).astype(np.float32)


class HeadModel(tf.keras.Model):
    """A head as a compiled Keras model.

    Its batches are (embedding [B, D], target, row weight [B]), and perhaps a teacher's answers [B, labels] as fourth.

    Args:
      head: the head.
      learning_rate: step size of Adam.
      jit_compile: XLA.
      settings: label smoothing, adversarial training (on the standardised vector), R-Drop.
      seed: of dropout.
    """

    def __init__(
        self,
        head: Head,
        learning_rate: float,
        jit_compile: bool = False,
        settings: Regularise | None = None,
        seed: int = 0,
    ):
        super().__init__(name="head_model")
        self.head, self._settings, self._seed = head, settings or Regularise(), seed
        self.compile(tf.keras.optimizers.Adam(learning_rate), jit_compile=jit_compile)

    def call(self, embedding: tf.Tensor, training: bool = False) -> tf.Tensor:
        """[B, D] -> logits [B, labels] float32."""
        return self.head(embedding, self._noise(0) if training else QUIET)

    def train_step(self, batch: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        """One step of gradient descent; Keras calls it."""
        embedding, targets, weights, soft = (*batch, None, None)[:4]
        if not self.head.multi_label:
            targets = tf.cast(tf.reshape(targets, [-1]), tf.int32)
        weights = tf.ones(tf.shape(embedding)[0]) if weights is None else tf.cast(weights, tf.float32)
        noise, settings = self._noise(0), self._settings

        def cost(logits: tf.Tensor) -> tf.Tensor:
            losses = label_loss(logits, targets, weights, self.head.multi_label, settings.label_smoothing, soft)
            return tf.reduce_mean(losses)

        def moved(by: tf.Tensor) -> tf.Tensor:
            return cost(self.head(tf.cast(embedding, tf.float32) + by / self.head.scale, noise))

        worst = None
        if settings.adversarial != "none":
            worst = worst_perturbation(moved, tf.zeros_like(embedding, tf.float32), settings, settings.vector_epsilon)
        with tf.GradientTape() as tape:
            logits = self.head(embedding, noise)
            loss = cost(logits)
            if settings.r_drop:
                again = self.head(embedding, self._noise(SECOND_PASS))
                gap = divergence(logits, again, self.head.multi_label)
                loss = (loss + cost(again)) / 2 + settings.r_drop * tf.reduce_mean(gap)
            if worst is not None:
                loss += moved(worst)
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        return {"loss": loss}

    def _noise(self, more: int) -> Noise:
        return Noise(self._seed + more, self.optimizer.iterations)
