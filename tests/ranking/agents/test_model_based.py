"""The model-based agent: what its model learns of a known world, and its plan by hand."""

import numpy as np
import tensorflow as tf

from tfrec_llm.config import Component
from tfrec_llm.ranking import build_agent
from tfrec_llm.ranking.agents.model_based import Imagined, Options
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.ranking.worlds.interest import InterestSettings, InterestWorld
from tfrec_llm.ranking.worlds.sessions import as_trajectory, roll


def build(world, **settings):
    shape = AgentShape(world.context_dim, world.feature_dim, world.num_actions, seed=1)
    return build_agent(Component("model_based", settings), shape)


def test_the_model_learns_how_users_respond():
    """Interest moves to .9 s + 1 - 2 bait, seen as a fifth of it; one in five users leaves."""
    world = InterestWorld(InterestSettings(distractors=0, leaving=0.2))
    agent, state, fresh = build(world), world.begin(256), tf.ones([256], tf.bool)

    @tf.function
    def one_round(state, fresh, seed):
        made, state, fresh = roll(world, None, state, fresh, seed, 4)
        agent.train_sessions(as_trajectory(made))
        return state, fresh

    for number in range(60):
        state, fresh = one_round(state, fresh, tf.constant([3, number]))
    context = tf.constant([[0.0], [0.2]])
    features = tf.constant([[[0.0], [0.5], [1.0]]] * 2)
    c, options = agent.network.options(context, features, tf.ones([2, 3], tf.bool))
    imagined = agent.network.imagine(c, options)
    moved = [[0.2, 0.0, -0.2], [0.38, 0.18, -0.02]]
    np.testing.assert_allclose(imagined.context[..., 0], moved, atol=0.06)
    np.testing.assert_allclose(tf.sigmoid(imagined.stay), 0.8, atol=0.08)
    reward = np.array([[0.6, 0.8, 1.0]]) / (1 + np.exp(-np.array([[0.0], [0.2]])))
    np.testing.assert_allclose(tf.sigmoid(imagined.logits), reward, atol=0.06)


class Walk:
    """A model by hand: c moves by what is shown, which brings a reward of .5 for sure; nobody leaves."""

    def imagine(self, c, options):
        moved = c[:, None, :] + options.features
        return Imagined(tf.zeros_like(options.prior), moved, tf.fill(options.prior.shape, 100.0))

    def value(self, c):
        return c[..., 0]


def test_a_plan_by_hand(monkeypatch):
    world = InterestWorld(InterestSettings(distractors=0))
    network = build(world, discount=0.5).network
    for name in ("imagine", "value"):
        monkeypatch.setattr(network, name, getattr(Walk(), name))
    options = Options(tf.constant([[[1.0], [-1.0], [9.0]]]), tf.zeros([1, 3]), tf.constant([[True, True, False]]))
    start = tf.constant([[2.0]])
    # each decision: half of .5 now, and half of what follows; the walk goes up by 1, as 9 may not be shown
    assert network.worth(start, options, 0).numpy().tolist() == [2.0]
    assert network.worth(start, options, 1).numpy().tolist() == [0.25 + 0.5 * 3]
    assert network.worth(start, options, 2).numpy().tolist() == [0.25 + 0.125 + 0.25 * 4]
