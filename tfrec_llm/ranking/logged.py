"""What an agent would have shown where a log shows something: its probabilities, for estimators and the gate."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfrec_llm.ranking.agents.registry import Agent
from tfrec_llm.ranking.exploration import slot_probabilities
from tfrec_llm.types import Candidates, SlateFeedback

_ROWS = 4096  # decisions at a time


def logged_probabilities(
    agent: Agent, feedback: SlateFeedback, allowed: np.ndarray, floor: float, explore_top: int
) -> np.ndarray:
    """The agent's probabilities in each slot, given the logged items above it; see `logged_function`."""
    return logged_function(agent, floor, explore_top)(feedback, allowed)


def logged_function(agent: Agent, floor: float, explore_top: int) -> Callable[[SlateFeedback, np.ndarray], np.ndarray]:
    """What asks an agent again and again, while it learns.

    Args:
      agent: whose probabilities.
      floor: share of uniform exploration, see `fill_slate`.
      explore_top: how many candidates it reaches.

    Returns:
      A function of [R, n] logged slates of any policy, and of allowed [R, K] bool (what is not allowed is never shown),
      whose result [R, n, K] sums to one over what is left, as `evaluation.policies` wants it; 0 where nothing is.
    """

    @tf.function(reduce_retracing=True, autograph=False)  # nothing in it needs it, and converting takes seconds
    def probabilities(context: tf.Tensor, features: tf.Tensor, slate: tf.Tensor, allowed: tf.Tensor) -> tf.Tensor:
        candidates = Candidates(tf.zeros_like(allowed, tf.int32), tf.zeros_like(allowed, tf.float32), features, allowed)
        scores, rule = agent.scores(context, candidates), agent.rule(context, candidates)
        scores = tf.where(tf.math.is_finite(scores), scores, -1e30)
        never, count = tf.zeros_like(allowed[:, 0]), tf.shape(allowed)[1]
        shown = tf.cumsum(tf.one_hot(slate, count), axis=1, exclusive=True) > 0.5  # [B, n, K] in a slot above
        slots = [
            slot_probabilities(scores, allowed & ~shown[:, slot], rule, floor, explore_top, never)
            for slot in range(slate.shape[1])
        ]
        return tf.stack(slots, axis=1)

    def ask(feedback: SlateFeedback, allowed: np.ndarray) -> np.ndarray:
        parts = []
        tensors = (feedback.context, feedback.candidates, feedback.slate, allowed)
        types = (tf.float32, tf.float32, tf.int32, tf.bool)
        for first in range(0, len(feedback.slate), _ROWS):
            chosen = slice(first, first + _ROWS)
            columns = (tf.cast(t[chosen], kind) for t, kind in zip(tensors, types, strict=True))
            parts.append(probabilities(*columns).numpy())
        return np.concatenate(parts)

    return ask
