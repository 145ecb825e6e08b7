import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.config import Component
from tfrec_llm.ranking import AGENTS, build_agent
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.ranking.exploration import Draw
from tfrec_llm.ranking.replay import Logged, Showing, passes, replay_function, slate_feedback, slate_quality, taken
from tfrec_llm.types import Candidates

SHOWING = Showing(slate=3, floor=0.3, explore_top=6, batch_size=64)


def tensors(logged):
    rows, context = logged
    return tf.nest.map_structure(tf.constant, Logged(context, rows.candidates, rows.reward))


def build(rows):
    shape = AgentShape(rows.context.shape[1], rows.candidates.features.shape[2], rows.reward.shape[1], prior=2)
    return build_agent(Component("neural_epsilon_greedy", {"learning_rate": 0.005}), shape)


def test_feedback_by_hand():
    candidates = Candidates(None, None, tf.zeros([1, 4, 2]), None)
    draw = Draw(tf.constant([[2, 0, -1]]), tf.constant([[0.5, 1.0, 0.0]]), None)
    feedback = slate_feedback(tf.zeros([1, 3]), candidates, tf.constant([[0.1, 0.2, 0.9, 0.4]]), draw)
    np.testing.assert_allclose(feedback.rewards, [[0.9, 0.1, 0.0]])
    assert feedback.slate.numpy().tolist() == [[2, 0, -1]]
    assert feedback.propensities.numpy().tolist() == [[0.5, 1.0, 0.0]]
    assert feedback.candidates.shape == (1, 4, 2)


def test_slate_quality_by_hand():
    scores = tf.constant([[0.9, 0.8, 0.7, 0.6], [0.9, 0.9, 0.1, 0.2], [0.5, 0.5, 0.5, 0.5]])
    allowed = tf.constant([[True, True, True, True], [False, True, True, True], [True] * 4])
    reward = tf.constant([[0.0, 1.0, 0.0, 0.5], [1.0, 0.4, 0.0, 0.0], [0.0] * 4])
    ndcg, gained = slate_quality(scores, allowed, reward, 2)
    # row 0: 1/log2(3) of ideal 1 + .5/log2(3); row 1: what is not allowed is neither shown nor missed; row 2: nothing
    discount = 1 / np.log2(3)
    np.testing.assert_allclose(ndcg, [discount / (1 + 0.5 * discount), 1.0, 0.0], rtol=1e-6)
    np.testing.assert_allclose(gained, [1.0, 0.4, 0.0])


def test_what_is_not_allowed_loses_to_any_score():
    scores, allowed = tf.constant([[0.0, -5.0, -3.0]]), tf.constant([[False, True, True]])
    ndcg, gained = slate_quality(scores, allowed, tf.constant([[1.0, 0.2, 0.4]]), 1)
    np.testing.assert_allclose([ndcg[0], gained[0]], [1.0, 0.4])


def test_replay_learns_the_taste_that_the_blend_is_blind_to(logged):
    rows = tensors(logged)
    agent = build(rows)
    done = list(itertools.islice(passes(agent, rows, SHOWING, np.random.default_rng(0)), 15))
    assert done[-1].reward > done[0].reward + 0.1
    assert all(np.isfinite(one.loss) for one in done)
    ndcg, _ = slate_quality(agent.scores(rows.context, rows.candidates), rows.candidates.allowed, rows.reward, 3)
    blend, _ = slate_quality(rows.candidates.scores, rows.candidates.allowed, rows.reward, 3)
    assert np.mean(ndcg) > np.mean(blend) + 0.1


ONLY_SUCCESSES = {"cql": {"conservatism": 1.0}}  # every logged choice brought 1: what was not chosen must say the rest


@pytest.mark.parametrize("name", sorted(AGENTS))
def test_every_agent_learns_the_taste_from_the_replay(name, logged):
    rows = tensors(logged)
    shape = AgentShape(rows.context.shape[1], rows.candidates.features.shape[2], rows.reward.shape[1], prior=2)
    agent = build_agent(Component(name, ONLY_SUCCESSES.get(name, {})), shape)
    for _ in itertools.islice(passes(agent, rows, SHOWING, np.random.default_rng(0)), 25):
        pass
    ndcg, _ = slate_quality(agent.scores(rows.context, rows.candidates), rows.candidates.allowed, rows.reward, 3)
    blend, _ = slate_quality(rows.candidates.scores, rows.candidates.allowed, rows.reward, 3)
    assert np.mean(ndcg) > np.mean(blend) + 0.1


def test_what_was_taken_is_the_log(logged):
    rows = tensors(logged)
    feedback = taken(rows._replace(reward=rows.reward * tf.cast(tf.range(400)[:, None] > 0, tf.float32)))
    target = logged[0].target
    assert feedback.slate[0, 0] == -1
    np.testing.assert_array_equal(feedback.slate[1:, 0], target.argmax(axis=1)[1:])
    np.testing.assert_allclose(feedback.rewards[:, 0], [0.0] + [1.0] * 399)


def test_the_same_generator_gives_the_same_passes(logged):
    rows = tensors(logged)
    runs = [list(itertools.islice(passes(build(rows), rows, SHOWING, np.random.default_rng(4)), 2)) for _ in range(2)]
    assert runs[0] == runs[1]


def test_the_replay_compiles_under_xla_to_the_same_loss(logged):
    rows = tensors(logged)
    order, numbers = tf.reshape(tf.range(128), [2, 64]), tf.random.stateless_uniform([2, 64, 3], [1, 2])
    plain, compiled = (replay_function(build(rows), rows, SHOWING, jit)(order, numbers) for jit in (False, True))
    assert float(plain[1]) == pytest.approx(float(compiled[1]), abs=1e-4)
    assert float(plain[0]) == pytest.approx(float(compiled[0]), abs=1e-4)
