"""Actor-critic and REINFORCE: their losses by hand, and what they learn from another policy's log."""

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.trajectories import time_step, trajectory

from tfrec_llm.config import Component
from tfrec_llm.ranking import build_agent
from tfrec_llm.ranking.agents.actor_critic import clipped
from tfrec_llm.ranking.agents.experience import SlateInfo, observe, slates_of
from tfrec_llm.ranking.agents.learner import Learner
from tfrec_llm.ranking.agents.reinforce import corrected
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.ranking.worlds.sessions import as_trajectory, roll
from tfrec_llm.ranking.worlds.simulation import SESSION_WORLDS
from tfrec_llm.types import Candidates, SlateFeedback

BOTH = ("actor_critic", "reinforce")


def agent(name, **settings):
    return build_agent(Component(name, settings), AgentShape(2, 3, 4, seed=1))


def test_clipped_by_hand():
    ratio, advantage = tf.constant([1.5, 1.5, 0.5, 0.5, 1.1]), tf.constant([1.0, -1.0, 1.0, -1.0, 2.0])
    np.testing.assert_allclose(clipped(ratio, advantage, 0.2), [1.2, -1.5, 0.5, -0.8, 2.2], rtol=1e-6)


@pytest.mark.parametrize(("top_k", "cap"), [(1, 9.0), (3, 9.0), (3, 1.5)])
def test_the_corrected_gradient_is_that_of_the_paper(top_k, cap):
    chance = tf.constant([0.1, 0.4, 0.9])
    with tf.GradientTape() as tape:
        tape.watch(chance)
        counted = corrected(chance, tf.constant([0.2, 0.2, 0.2]), float(top_k), cap)
    ratio = np.minimum([0.5, 2.0, 4.5], cap)
    np.testing.assert_allclose(counted, ratio, rtol=1e-6)
    weight = ratio * top_k * (1 - chance.numpy()) ** (top_k - 1)
    np.testing.assert_allclose(tape.gradient(counted, chance), weight / chance.numpy(), rtol=1e-4)


def log_of_the_first_two(count=2000):
    """Logged by a policy that shows the first two items in nine of ten cases; the last one is the best."""
    rng = np.random.default_rng(0)
    shown = rng.choice(4, size=count, p=[0.6, 0.3, 0.05, 0.05])
    rewards = (rng.random(count) < np.array([0.3, 0.3, 0.3, 0.8])[shown]).astype(np.float32)
    propensities = np.array([0.6, 0.3, 0.05, 0.05], np.float32)[shown]
    features = np.tile(np.concatenate([np.eye(3), np.zeros((1, 3))])[None], (count, 1, 1)).astype(np.float32)
    parts = (np.zeros((count, 2), np.float32), features, shown[:, None].astype(np.int32), rewards[:, None])
    return SlateFeedback(*map(tf.constant, (*parts, propensities[:, None])))


@pytest.mark.parametrize("name", BOTH)
def test_it_learns_from_another_policys_log(name):
    learner, log = agent(name), log_of_the_first_two()
    train = tf.function(learner.train)
    for _ in range(60):
        train(log)
    scores = learner.scores(log.context[:1], Candidates(None, None, log.candidates[:1], tf.ones([1, 4], tf.bool)))
    chances = tf.nn.softmax(scores)[0].numpy()
    assert chances.argmax() == 3
    assert chances[3] > 0.5


@pytest.mark.parametrize("name", sorted(SESSION_WORLDS))
def test_on_its_own_draws_propensities_are_its_probabilities(name):
    settings, builder = SESSION_WORLDS[name]
    world = builder(settings())
    shape = AgentShape(world.context_dim, world.feature_dim, world.num_actions, seed=1, slate=world.slate)
    learner = build_agent(Component("actor_critic"), shape)
    made, *_ = roll(world, learner, world.begin(30), tf.ones([30], tf.bool), tf.constant([1, 2]), 3)
    batch = learner._judged(slates_of(as_trajectory(made)))
    np.testing.assert_allclose(batch.weight, 1.0, rtol=1e-4)
    assert len(batch.action) == 30 * 3 * world.slate


def test_slates_of_sessions_by_hand():
    observation = observe(tf.zeros([1, 2, 2]), tf.zeros([1, 2, 4, 3]), tf.ones([1, 2, 4], tf.bool))
    info = SlateInfo(tf.constant([[[2, 0], [1, 3]]]), tf.fill([1, 2, 2], 0.5), tf.constant([[1, -1]]))
    kind, rewards = tf.fill([1, 2], time_step.StepType.MID), tf.constant([[0.7, 0.0]])
    steps = trajectory.Trajectory(kind, observation, info.slate[..., 0], info, kind, rewards, tf.ones([1, 2]))
    slates = slates_of(steps)
    np.testing.assert_array_equal(slates.slate, [[2, 0], [1, 3]])
    np.testing.assert_allclose(slates.rewards, [[0.0, 0.7], [0.0, 0.0]])


@pytest.mark.parametrize("name", BOTH)
def test_tf_agents_drivers_are_told_the_agents_probabilities(name):
    shown = agent(name)
    learner = Learner(shown, shown.network, loss=lambda batch: batch, learning_rate=0.1, gradient_norm=1.0)
    remaining = tf.constant([[True, True, False, True]])
    step = time_step.restart(observe(tf.zeros([1, 2]), tf.zeros([1, 4, 3]), remaining), batch_size=1)
    found = learner.collect_policy.distribution(step).action.probs_parameter()
    np.testing.assert_allclose(found, [[1 / 3, 1 / 3, 0.0, 1 / 3]], rtol=1e-5)
