"""Fits log-odds to responses by steps in graph, and keeps the pass that foretells the calibrating tenth best."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfrec_llm.layers.lazy_adam import LazyAdam
from tfrec_llm.ranking.simulators.responses import Divided, Responses

BATCH, PASSES, PATIENCE = 2048, 30, 2
Logits = Callable[[Responses], tuple[tf.Tensor, tf.Tensor]]  # rows -> log-odds [M], penalty


def fit_logits(
    logits: Logits, variables: Sequence[tf.Variable], parts: Divided, learning_rate: float, seed: int
) -> None:
    """Minimises the log loss and the penalty; leaves the best pass in the variables.

    Args:
      logits: of a batch of responses, in graph.
      variables: what is fitted.
      parts: `fit` is trained on, `calibrate` stops.
      learning_rate: of lazy Adam.
      seed: of the order.
    """
    fit, watched = (Responses(*map(tf.constant, part)) for part in (parts.fit, parts.calibrate))
    optimizer, count = LazyAdam(learning_rate), len(parts.fit.user)
    size = min(BATCH, count)

    @tf.function
    def one_pass(order: tf.Tensor) -> None:
        for step in tf.range(tf.shape(order)[0]):
            rows = Responses(*(tf.gather(column, order[step]) for column in fit))
            with tf.GradientTape() as tape:
                found, penalty = logits(rows)
                loss = _log_loss(rows.positive, found) + penalty
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    judge = tf.function(lambda: _log_loss(watched.positive, logits(watched)[0]))
    generator, best, waited = np.random.default_rng([seed, 6]), np.inf, 0
    kept = [variable.numpy() for variable in variables]
    for _ in range(PASSES):
        one_pass(tf.constant(generator.permutation(count)[: count // size * size].reshape(-1, size)))
        now = float(judge())
        if now < best:
            best, kept, waited = now, [variable.numpy() for variable in variables], 0
        else:
            waited += 1
        if waited >= PATIENCE:
            break
    for variable, value in zip(variables, kept, strict=True):
        variable.assign(value)


def _log_loss(positive: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(positive, logits))
