"""Two towers over unordered sets: what a user had, in no order, asks for what goes with it.

For interactions without a usable order, as in a random split. The query tower reads the mean of the vectors of a set of
items through a small learned map, the candidate tower has the same vectors and a popularity. In a step each user's
items are parted at random: some are shown to the query, the rest is asked for, by a softmax over all items. What was
shown is never asked for, and nothing but that loss tells the towers so.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfrec_llm.config import setting
from tfrec_llm.training import untuned


@dataclass(frozen=True)
class SetTowersSettings:
    """Settings of the towers and of their training."""

    dim: int = setting(512, "width of the vectors", low=1)
    rank: int = setting(32, "of the map from a set's mean to its query, beside a factor for each coordinate", low=1)
    scale: float = setting(0.3, "standard deviation of the vectors at the start: large, they are nearly apart", low=0)
    shown: float = setting(0.8, "share of a user's items that is shown: drawn between this and 1", low=0, high=0.999)
    dropout: float = setting(0.5, "share of the set's mean left out in training", low=0, high=0.95)
    weight_decay: float = setting(1e-4, "of item vectors", low=0)
    learning_rate: float = setting(5e-3, "at its peak, of Adam", low=1e-8, high=10)
    weight_average: float = setting(0.98, "decay of the moving average of the weights", low=0, high=0.99999)
    batch_size: int = setting(128, "users of a step", low=1)
    epochs: int = setting(50, "passes", low=1)


class SetTowers(tf.keras.Model):
    """Towers over sets.

    Args:
      settings: see `SetTowersSettings`.
      counts: [N] training events of each item.
    """

    def __init__(self, settings: SetTowersSettings, counts: np.ndarray):
        super().__init__(name="set_towers")
        self.settings = settings
        start = tf.random.normal([len(counts), settings.dim], stddev=settings.scale)
        self.items = tf.Variable(start, name="items")
        self.popularity = tf.Variable(np.log1p(counts).astype(np.float32), name="popularity")
        self.mix = tf.Variable(tf.zeros([settings.dim]), name="mix")
        self.down = tf.Variable(tf.random.normal([settings.dim, settings.rank], stddev=0.05), name="down")
        self.up = tf.Variable(tf.zeros([settings.rank, settings.dim]), name="up")

    def call(self, sets: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The query of each set.

        Args:
          sets: [B, N] float32, 1 for each item of the set.
          training: whether dropout is on.

        Returns:
          [B, Q], Q = dim + 1; times `item_table` = scores of the items.
        """
        size = tf.reduce_sum(sets, axis=1, keepdims=True)
        mean = tf.matmul(sets, self.items) * tf.math.rsqrt(size + 1.0)  # [B, D]
        mean = tf.nn.dropout(mean, self.settings.dropout) if training else mean
        query = mean * self.mix + tf.matmul(tf.matmul(mean, self.down), self.up)
        return tf.concat([query, tf.ones_like(query[:, :1])], axis=1)

    def item_table(self) -> tf.Tensor:
        """All items as candidates: [N, Q]."""
        return tf.concat([self.items, self.popularity[:, tf.newaxis]], axis=1)

    def compute_loss_of(self, sets: tf.Tensor, training: bool = True) -> tf.Tensor:
        """Mean cross entropy of the items that were not shown, among all items.

        Args:
          sets: [B, N] float32, what each user had.
          training: whether dropout is on.
        """
        share = tf.random.uniform([tf.shape(sets)[0], 1], self.settings.shown, 1.0)
        shown = sets * tf.cast(tf.random.uniform(tf.shape(sets)) < share, tf.float32)
        asked = sets - shown  # [B, N]
        logits = tf.matmul(self(shown, training=training), self.item_table(), transpose_b=True)
        losses = tf.reduce_sum(asked * tf.nn.log_softmax(logits), axis=1)
        return -tf.reduce_sum(losses) / tf.maximum(tf.reduce_sum(asked), 1.0)

    def train_step(self, sets: tf.Tensor) -> dict[str, tf.Tensor]:
        """One step of gradient descent; Keras calls it."""
        with tf.GradientTape() as tape:
            loss = self.compute_loss_of(sets)
            total = loss + self.settings.weight_decay * tf.nn.l2_loss(self.items)
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(total, variables), variables, strict=True))
        return {"loss": loss}


def train_sets(settings: SetTowersSettings, sets: np.ndarray, seed: int) -> SetTowers:
    """Trains on what users had.

    Args:
      settings: see `SetTowersSettings`.
      sets: [U, N] float32, 1 where a user had an item.
      seed: of weights, order and parting.

    Returns:
      The model, with its averaged weights.

    Raises:
      ValueError: nobody had anything.
    """
    if sets.ndim != 2 or not sets.any():
        raise ValueError(f"set towers: expected sets [U, N] with an item in one of them, got {list(sets.shape)}.")
    model, rows = compiled(settings, sets, seed)
    model.fit(rows, epochs=settings.epochs, verbose=0)
    return model


def compiled(settings: SetTowersSettings, sets: np.ndarray, seed: int) -> tuple[SetTowers, tf.data.Dataset]:
    """A model ready to be trained, and the batches of a pass, shuffled anew in each; arguments as of `train_sets`."""
    tf.keras.utils.set_random_seed(seed)
    model, batch = SetTowers(settings, sets.sum(axis=0)), min(settings.batch_size, len(sets))
    steps = settings.epochs * (len(sets) // batch)
    pace = tf.keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps)
    average = {"use_ema": True, "ema_momentum": settings.weight_average} if settings.weight_average else {}
    model.compile(optimizer=tf.keras.optimizers.Adam(pace, **average))
    rows = tf.data.Dataset.from_tensor_slices(sets).shuffle(len(sets), seed=seed).batch(batch, drop_remainder=True)
    return model, untuned(rows)
