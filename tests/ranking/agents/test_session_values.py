"""Two heads: what greedy answers and what exploring ones go by."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.ranking.agents.session_values import ByIndex, SessionValues, SessionValuesSettings
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.types import Candidates, SlateFeedback


def situation():
    features = tf.constant([[[1.0, 0.6], [0.0, 0.3], [-1.0, 0.1]]])
    zeros = tf.zeros([1, 3])
    return tf.ones([1, 2]), Candidates(tf.constant([[2, 3, 4]]), zeros, features, zeros == 0)


def slots(agent):
    context, candidates = situation()
    scores = agent.scores(context, candidates)
    return agent.rule(context, candidates).probabilities(scores, candidates.allowed).numpy()[0]


def feedback():
    """What the blend likes least is what sessions live on."""
    context, candidates = situation()
    return SlateFeedback(
        context, candidates.features, tf.constant([[0, 1, 2]]), tf.constant([[0.1, 0.2, 0.9]]), tf.ones([1, 3])
    )


def test_before_practice_it_draws_by_the_predicted_reward():
    agent = SessionValues(SessionValuesSettings(reward_temperature=0.1), AgentShape(2, 2, 3, prior=1))
    agent.network.adapt(np.ones((2, 2)), np.eye(2), value=0.5)
    weights = np.exp(np.array([0.3, 0.15, 0.05]) / 0.1)  # value x the blend's probability
    np.testing.assert_allclose(slots(agent), weights / weights.sum(), rtol=1e-4)


def test_practice_moves_what_is_drawn_and_not_what_is_greedy():
    agent = SessionValues(
        SessionValuesSettings(learning_rate=0.05, relevance=0.0, temperature=0.1), AgentShape(2, 2, 3, prior=1)
    )
    before = agent.scores(*situation()).numpy()
    train = tf.function(agent.train_values)
    losses = [float(train(feedback())) for _ in range(200)]
    assert losses[-1] < losses[0]
    np.testing.assert_array_equal(agent.scores(*situation()), before)
    assert slots(agent).argmax() == 2
    weights = np.exp(np.array([0.1, 0.2, 0.9]) / 0.1)  # the values that were taught
    np.testing.assert_allclose(slots(agent), weights / weights.sum(), atol=0.02)


def test_its_own_logits_are_drawn_by():
    probability = ByIndex(tf.constant([[5.0 + np.log(0.6), 5.0 + np.log(0.3)]], tf.float32))
    drawn = probability.probabilities(tf.zeros([1, 2]), tf.constant([[True, True]])).numpy()[0]
    assert drawn == pytest.approx([2 / 3, 1 / 3], rel=1e-5)


def test_the_loss_of_values_is_their_mean_log_loss():
    agent = SessionValues(SessionValuesSettings(), AgentShape(2, 2, 3, prior=1))
    assert float(agent.train_values(feedback())) == pytest.approx(np.log(2), rel=1e-5)  # all values are 1/2


def test_settling_makes_the_mean_right_and_changes_no_answer():
    agent = SessionValues(SessionValuesSettings(temperature=0.1), AgentShape(2, 2, 3, prior=1))
    agent.network.adapt(np.ones((2, 2)), np.eye(2), value=0.5)
    tf.function(agent.train_values)(feedback())  # so that the index counts
    before, order = slots(agent), np.argsort(agent.scores(*situation())[0])
    agent.settle(feedback())
    scores = agent.scores(*situation()).numpy()
    np.testing.assert_allclose(scores.mean(), 0.4, atol=1e-4)  # each candidate was shown once
    np.testing.assert_array_equal(np.argsort(scores[0]), order)
    np.testing.assert_allclose(slots(agent), before, atol=1e-4)
