"""The trainer: a small neural network that foretells the response from a user's history and an item's features.

It knows users by what they responded to, not by name: the mean features of the items that they liked and of all items
that they responded to, each without the very response that is foretold.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from sklearn.utils.extmath import randomized_svd

from tfrec_llm.data.content import content_features
from tfrec_llm.ranking.simulators.fitting import fit_logits
from tfrec_llm.ranking.simulators.responses import Divided, Responses
from tfrec_llm.ranking.simulators.tables import ResponseTables, calibrate
from tfrec_llm.types import FIRST_ITEM, Catalogue

COMPONENTS, HIDDEN, FACTORS, L2, RATE = 32, 64, 16, 1e-4, 2e-3


class Histories(NamedTuple):
    """Sums over the responses of each user."""

    liked: tf.Tensor  # [U, D + 1] features of the items liked, and their number
    all: tf.Tensor  # [U, D + 1] the same of all items responded to


def fit_trainer(
    parts: Divided, catalogue: Catalogue, text: np.ndarray | None, num_users: int, seed: int
) -> ResponseTables:
    """A tower over histories, a tower over items' features, their product and biases; Platt-scaled.

    Args:
      parts: responses, of `divide`.
      catalogue: attributes and prices.
      text: [N+2, D] text vectors, or None.
      num_users: U.
      seed: of start and order.

    Returns:
      Calibrated tables, users as of all their fitted responses.
    """
    features = item_features(catalogue, text, parts.fit, seed)
    inputs, sums = tf.constant(features), _histories(features, parts.fit, num_users)
    named = tf.Variable(tf.zeros([len(features)]))  # what features don't tell of an item
    towers = [_tower(seed + place) for place in range(2)]

    def logits(rows: Responses) -> tuple[tf.Tensor, tf.Tensor]:
        item = tf.gather(inputs, rows.item)  # [M, D]
        own = tf.concat([item, tf.ones_like(item[:, :1])], axis=1)
        all_sums = tf.gather(sums.all, rows.user) - own * rows.observed[:, None]
        liked_sums = tf.gather(sums.liked, rows.user) - own * (rows.observed * rows.positive)[:, None]
        u, v = towers[0](_means(liked_sums, all_sums)), towers[1](item)
        bias = tf.gather(named, rows.item)
        logit = tf.reduce_sum(u[:, 1:] * v[:, 1:], axis=1) + u[:, 0] + v[:, 0] + bias
        return logit, L2 * (tf.reduce_mean(tf.square(u)) + tf.reduce_mean(tf.square(v)) + tf.reduce_mean(bias**2))

    logits(Responses(*(tf.constant(column[:1]) for column in parts.fit)))  # builds the towers
    aside = parts.calibrate._replace(observed=np.zeros_like(parts.calibrate.observed))  # its rows are in no sum
    fitted = [named, *towers[0].trainable_variables, *towers[1].trainable_variables]
    fit_logits(logits, fitted, parts._replace(calibrate=aside), RATE, seed)
    u, v = towers[0](_means(*sums)).numpy(), towers[1](inputs).numpy()
    found = ResponseTables(u[:, 1:], u[:, 0], v[:, 1:], v[:, 0] + named.numpy())
    return calibrate(found, parts.calibrate)


def item_features(catalogue: Catalogue, text: np.ndarray | None, fit: Responses, seed: int) -> np.ndarray:
    """[N+2, D] the main directions of text and attributes, of unit variance, and log popularity; rows 0 and 1 zero."""
    content = content_features(catalogue, text)
    columns = []
    if min(content.shape) > 1 and content.any():
        centred = content - content[FIRST_ITEM:].mean(axis=0)
        wide = min(COMPONENTS, *(side - 1 for side in content.shape))
        left, _, _ = randomized_svd(centred[FIRST_ITEM:], max(wide, 1), random_state=seed)
        columns = [np.pad(left / np.maximum(left.std(axis=0), 1e-9), [(FIRST_ITEM, 0), (0, 0)])]
    counts = np.bincount(fit.item, fit.observed, minlength=len(content))
    popularity = np.log1p(counts) - np.log1p(counts[FIRST_ITEM:]).mean()
    features = np.column_stack([*columns, popularity]).astype(np.float32)
    features[:FIRST_ITEM] = 0
    return features


def _histories(features: np.ndarray, fit: Responses, num_users: int) -> Histories:
    found = []
    own = np.column_stack([features, np.ones(len(features), np.float32)])
    for weights in (fit.observed * fit.positive, fit.observed):
        sums = np.stack([np.bincount(fit.user, weights * own[fit.item, d], num_users) for d in range(own.shape[1])], 1)
        found.append(tf.constant(sums, tf.float32))
    return Histories(*found)


def _means(liked: tf.Tensor, everything: tf.Tensor) -> tf.Tensor:
    """Sums [M, D + 1] of both kinds -> [M, 2D + 2] what the tower sees of a history."""
    share = tf.math.divide_no_nan(liked[:, -1:], everything[:, -1:])
    means = [sums[:, :-1] / tf.maximum(sums[:, -1:], 1.0) for sums in (liked, everything)]
    return tf.concat([*means, share, 0.2 * tf.math.log1p(tf.maximum(everything[:, -1:], 0.0))], axis=1)


def _tower(seed: int) -> tf.keras.Sequential:
    start = [tf.keras.initializers.GlorotUniform(seed=2 * seed + layer) for layer in range(2)]
    return tf.keras.Sequential(
        [
            tf.keras.layers.Dense(HIDDEN, "relu", kernel_initializer=start[0]),
            tf.keras.layers.Dense(1 + FACTORS, kernel_initializer=start[1]),
        ]
    )
