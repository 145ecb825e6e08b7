"""The model of TFRS' retrieval tutorial, written from its description, with what is beside it as switches.

Two tables of 32 numbers, one for user ids and one for film titles, softmax over the films of a batch of 8,192, Adagrad.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from pipelines.tutorial.ratings import Ratings
from tfrec_llm.config import setting


@dataclass(frozen=True)
class StockSettings:
    """The tutorial's settings and three switches."""

    dim: int = setting(32, "width of the vectors", low=1)
    learning_rate: float = setting(0.1, "of Adagrad", low=1e-6)
    batch_size: int = setting(8192, "pairs of a step", low=2)
    epochs: int = setting(3, "passes", low=1)
    metrics: bool = setting(False, "FactorizedTopK in every training step, as the tutorial has it; changes no weight")
    correction: bool = setting(False, "sampling correction: the films' training frequencies")
    history: bool = setting(False, "the query adds the mean of learned vectors of the user's other training films")


class StockTowers(tfrs.Model):
    """User id -> vector, film title -> vector.

    Args:
      settings: see `StockSettings`.
      ratings: names, and training frequencies.
    """

    def __init__(self, settings: StockSettings, ratings: Ratings):
        super().__init__()
        self.settings = settings
        titles = np.unique(ratings.titles)
        self.query_tower, self.candidate_tower = (_ids(names, settings.dim) for names in (ratings.user_ids, titles))
        films = tf.data.Dataset.from_tensor_slices(ratings.titles).batch(128).map(self.candidate_tower)
        metrics = tfrs.metrics.FactorizedTopK(candidates=films) if settings.metrics else None
        self.task = tfrs.tasks.Retrieval(metrics=metrics)
        watched = ratings.watched()
        counts = np.bincount(ratings.film[ratings.train], minlength=len(ratings.titles)) / len(ratings.train)
        self._watched = tf.constant(watched)  # [U, N]
        self._share = tf.constant(counts.astype(np.float32))  # [N]
        self.others = tf.Variable(tf.random.normal((*watched.shape[1:], settings.dim), stddev=0.05), name="history")

    def compute_loss(self, features: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """The tutorial's loss.

        Args:
          features: user_id and movie_title, [B] strings; user and film, [B] the same as numbers.
          training: not looked at.
        """
        del training
        query = self.query_tower(features["user_id"])
        if self.settings.history:
            query += self._mean_of_others(features["user"], features["film"])
        probability = tf.gather(self._share, features["film"]) if self.settings.correction else None
        candidate = self.candidate_tower(features["movie_title"])
        return self.task(
            query, candidate, candidate_sampling_probability=probability, compute_metrics=self.settings.metrics
        )

    def scores(self, ratings: Ratings) -> np.ndarray:
        """[U, N] of every user and film."""
        query = self.query_tower(tf.constant(ratings.user_ids))
        if self.settings.history:
            count = tf.maximum(tf.reduce_sum(self._watched, axis=1, keepdims=True), 1.0)
            query += tf.matmul(self._watched, self.others) / count
        return tf.matmul(query, self.candidate_tower(tf.constant(ratings.titles)), transpose_b=True).numpy()

    def _mean_of_others(self, user: tf.Tensor, film: tf.Tensor) -> tf.Tensor:
        """[B, D]: the film that is asked for is not among those that ask."""
        watched = tf.gather(self._watched, user)  # [B, N]
        others = tf.matmul(watched, self.others) - tf.gather(self.others, film)
        return others / tf.maximum(tf.reduce_sum(watched, axis=1, keepdims=True) - 1.0, 1.0)


def _ids(names: np.ndarray, dim: int) -> tf.keras.Model:
    lookup = tf.keras.layers.StringLookup(vocabulary=names, mask_token=None)
    return tf.keras.Sequential([lookup, tf.keras.layers.Embedding(len(names) + 1, dim)])


def build_stock(settings: StockSettings, ratings: Ratings) -> StockTowers:
    """A compiled model; TensorFlow's global seed decides its weights."""
    model = StockTowers(settings, ratings)
    model.compile(optimizer=tf.keras.optimizers.Adagrad(learning_rate=settings.learning_rate))
    return model


def batches(settings: StockSettings, ratings: Ratings, seed: int) -> tf.data.Dataset:
    """The training pairs, shuffled anew in every pass; batches are kept as the tutorial keeps them."""
    user, film = ratings.user[ratings.train], ratings.film[ratings.train]
    names = {"user_id": ratings.user_ids[user], "movie_title": ratings.titles[film], "user": user, "film": film}
    pairs = tf.data.Dataset.from_tensor_slices(names)
    return pairs.shuffle(100_000, seed=seed).batch(settings.batch_size).cache()


def train_stock(settings: StockSettings, ratings: Ratings, seed: int) -> np.ndarray:
    """Trains and scores: [U, N]."""
    tf.keras.utils.set_random_seed(seed)
    model = build_stock(settings, ratings)
    model.fit(batches(settings, ratings, seed), epochs=settings.epochs, verbose=0)
    return model.scores(ratings)
