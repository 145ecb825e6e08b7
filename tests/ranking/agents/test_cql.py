"""Conservative Q-learning: the penalty by hand, and what it does to values that a log says nothing of."""

import math

import numpy as np
import tensorflow as tf

from tfrec_llm.config import Component
from tfrec_llm.ranking import build_agent
from tfrec_llm.ranking.agents.cql import conservative_penalty
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.types import Candidates, SlateFeedback


def test_the_penalty_by_hand():
    # row 0: values 0 and .5 ln 3 at temperature .5: weights 1 and 3, .5 ln 4 - .5 ln 3; row 1: the second alone remains
    values = tf.constant([[0.0, 0.5 * math.log(3)], [9.0, 0.25]])
    remaining = tf.constant([[True, True], [False, True]])
    penalty = conservative_penalty(values, remaining, tf.constant([1, 1]), temperature=0.5)
    np.testing.assert_allclose(penalty, [0.5 * math.log(4 / 3), 0.0], atol=1e-6)


def log_of_two(rows=256) -> SlateFeedback:
    """Items 0 and 1 are shown in turn and bring .4 and .6; items 2 and 3, of the same kind as 1, never."""
    features = tf.tile([[[1.0, 0.0], [0.0, 1.0], [0.0, 2.0], [0.0, 2.0]]], [rows, 1, 1])
    slate = tf.cast(tf.range(rows) % 2, tf.int32)[:, None]
    rewards = tf.where(slate == 0, 0.4, 0.6)
    return SlateFeedback(tf.zeros([rows, 1]), features, slate, rewards, tf.fill([rows, 1], 0.5))


def test_what_the_log_never_shows_is_thought_little_of():
    feedback, scores = log_of_two(), {}
    candidates = Candidates(None, None, feedback.candidates[:1], tf.ones([1, 4], tf.bool))
    for conservatism in (0.0, 2.0):
        agent = build_agent(Component("cql", {"conservatism": conservatism, "temperature": 1.0}), AgentShape(1, 2, 4))
        train = tf.function(agent.train)
        for _ in range(150):
            train(feedback)
        scores[conservatism] = agent.scores(feedback.context[:1], candidates).numpy()[0]
    assert scores[0.0].argmax() == 2  # more of what is liked
    assert scores[2.0].argmax() == 1  # but nobody has tried
