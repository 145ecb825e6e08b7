"""SlateQ: a slate's worth by hand, the best one against all, a known choice model, Q-learning in slates of one."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.trajectories import StepType, trajectory

from tfrec_llm.config import Component
from tfrec_llm.ranking import build_agent
from tfrec_llm.ranking.agents.experience import SlateInfo, observe
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.ranking.agents.slate_q import Worth, best_slate, huber, slate_worth
from tfrec_llm.types import Candidates, SlateFeedback


def agent(slate=1, num_candidates=5, **settings):
    return build_agent(Component("slate_q", settings), AgentShape(2, 3, num_candidates, seed=1, slate=slate))


def test_a_slates_worth_by_hand():
    worth = Worth(tf.math.log([[1.0, 2.0, 5.0]]), tf.constant([[0.3, 0.6, 0.9]]), tf.constant([0.1]))
    # v of the slate 1 and 2, nothing 1: (1 x .1 + 1 x .3 + 2 x .6) / 4
    np.testing.assert_allclose(slate_worth(worth, tf.constant([[0, 1]])), [0.4], rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_best_slate_is_the_best_of_all(n):
    rng = np.random.default_rng(n)
    rows, count = 60, 6
    worth = Worth(*(tf.constant(rng.normal(size=s), tf.float32) for s in ([rows, count], [rows, count], [rows])))
    allowed = rng.random((rows, count)) < 0.8
    allowed[:, :n] = True
    best = best_slate(worth, tf.constant(allowed), n)
    found = slate_worth(worth, best.positions).numpy()
    for row in range(rows):
        slates = np.array(list(itertools.combinations(np.flatnonzero(allowed[row]), n)))
        alike = Worth(*(tf.repeat(part[row : row + 1], len(slates), axis=0) for part in worth))
        assert found[row] == pytest.approx(slate_worth(alike, tf.constant(slates)).numpy().max(), abs=1e-5)
        first = np.argsort(-np.where(allowed[row], best.scores[row], -np.inf))[:n]
        assert set(first) == set(best.positions[row].numpy())


def test_the_choice_model_is_found():
    """Users take what has twice the weight twice as often, and nothing as often as an item of weight one."""
    learner, rng = agent(slate=2, num_candidates=2, decay=0.0), np.random.default_rng(0)
    features = np.zeros((400, 2, 3), np.float32)
    features[:, 0, 0], features[:, 1, 1] = 1, 1
    taken = rng.choice(3, size=400, p=[0.5, 0.25, 0.25])
    rewards = tf.constant(np.eye(3)[taken][:, :2] * 0.8, tf.float32)
    slate = tf.tile(tf.constant([[0, 1]]), [400, 1])
    log = SlateFeedback(tf.zeros([400, 2]), tf.constant(features), slate, rewards, tf.ones([400, 2]))
    train = tf.function(learner.train)
    for _ in range(200):
        train(log)
    worth = learner.network.worth(log.context[:1], log.candidates[:1])
    counts = np.bincount(taken, minlength=3)
    np.testing.assert_allclose(tf.exp(worth.choice)[0], counts[:2] / counts[2], rtol=0.05)
    np.testing.assert_allclose(worth.taken[0], [0.8, 0.8], atol=0.02)
    np.testing.assert_allclose(worth.nothing, [0.0], atol=0.02)


def part_of_a_session(rewards, ended):
    """[1, T] decisions of slates of one, always taken, the same candidates in all."""
    length = len(rewards)
    one, features = tf.zeros([1, length], tf.int32), tf.random.stateless_normal([1, length, 5, 3], [1, 2])
    observation = observe(tf.zeros([1, length, 2]), features, tf.ones([1, length, 5], tf.bool))
    info = SlateInfo(one[..., None], tf.ones([1, length, 1]), one)
    discount = 1 - tf.constant([ended], tf.float32)
    kind = tf.fill([1, length], StepType.MID)
    return trajectory.Trajectory(kind, observation, one, info, kind, tf.constant([rewards], tf.float32), discount)


def test_a_slate_of_one_is_q_learning():
    """Untrained, every value is .5, and taking counts 1/2: worth of the last decision = .5 x .5 = .25."""
    learner = agent(discount=0.5)
    steps = part_of_a_session([1.0, 0.2, 9.9], [0, 0, 0])
    # values are mean rewards: .5 x 1 + .5 (.5 x .2 + .5 x .25) = .6125, and .5 x .2 + .5 x .25 = .225
    errors = [huber(tf.constant(0.5 - target)).numpy() for target in (0.6125, 0.225)]
    assert float(learner.train_sessions(steps)) == pytest.approx(np.mean(errors) + np.log(2), rel=1e-3)


def test_after_a_user_left_nothing_counts():
    learner = agent(discount=0.5)
    steps = part_of_a_session([1.0, 0.2, 9.9], [1, 0, 0])
    errors = [huber(tf.constant(0.5 - target)).numpy() for target in (0.5, 0.225)]
    assert float(learner.train_sessions(steps)) == pytest.approx(np.mean(errors) + np.log(2), rel=1e-3)


def test_one_item_more_needs_no_retraining():
    learner = agent()
    context, features = tf.zeros([2, 2]), tf.random.stateless_normal([2, 6, 3], [3, 4])
    scores = learner.scores(context, Candidates(None, None, features, tf.ones([2, 6], tf.bool)))
    assert scores.shape == (2, 6)
