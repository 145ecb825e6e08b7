"""Users who come back: the world's arithmetic, decisions in TF-Agents' form, and where being greedy loses."""

import numpy as np
import pytest
import tensorflow as tf
from tf_agents.trajectories import StepType

from tfrec_llm.config import Component, Config, Ranking, Simulate
from tfrec_llm.ranking import SESSION_WORLDS, build_agent, simulate, simulate_agent
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.ranking.worlds.interest import InterestSettings, InterestWorld
from tfrec_llm.ranking.worlds.sessions import as_trajectory, roll


def agent_for(world, name, **settings):
    shape = AgentShape(world.context_dim, world.feature_dim, world.num_actions, seed=1)
    return build_agent(Component(name, settings), shape)


@pytest.mark.parametrize("name", SESSION_WORLDS)
def test_every_session_world_keeps_the_contract(name):
    settings, builder = SESSION_WORLDS[name]
    world = builder(settings(), 3)
    state = world.begin(50)
    situation, again = (world.observe(state, tf.constant([1, 2])) for _ in range(2))
    assert situation.context.shape == (50, world.context_dim)
    assert situation.features.shape == (50, world.num_actions, world.feature_dim)
    assert situation.expected.shape == (50, world.num_actions)
    for one, other in zip(situation, again, strict=True):
        np.testing.assert_array_equal(one, other)
    shown = tf.zeros([50], tf.int32) if world.slate == 1 else tf.tile(tf.range(world.slate)[None], [50, 1])
    response = world.respond(state, situation, shown, tf.constant([3, 4]))
    assert response.state.shape == state.shape
    assert response.reward.shape == response.ended.shape == (50,)
    assert 0 < world.optimum < 1


def test_interest_by_hand():
    world = InterestWorld(InterestSettings(leaving=0.001, noise=0.0))
    state = tf.constant([[2.0], [-1.0]])
    situation = world.observe(state, tf.constant([0, 1]))
    bait = situation.features.numpy()[:, 4, 0]
    response = world.respond(state, situation, tf.constant([4, 4]), tf.constant([2, 3]))
    interest = 1 / (1 + np.exp(-0.2 * np.array([2.0, -1.0])))
    np.testing.assert_allclose(response.reward, (0.6 + 0.4 * bait) * interest, rtol=1e-5)
    np.testing.assert_allclose(response.state[:, 0], 0.9 * np.array([2.0, -1.0]) + 1 - 2 * bait, rtol=1e-5)


def test_users_leave_as_often_as_said_and_new_ones_have_no_interest_yet():
    world = InterestWorld(InterestSettings(leaving=0.3))
    state = tf.fill([20_000, 1], 5.0)
    response = world.respond(state, world.observe(state, tf.constant([0, 1])), tf.zeros([20_000], tf.int32), [2, 3])
    ended = response.ended.numpy()
    assert ended.mean() == pytest.approx(0.3, abs=0.015)
    assert not response.state.numpy()[ended].any()
    assert response.state.numpy()[~ended].all()


def test_the_known_values_are_those_of_the_policies():
    """Value iteration says what always showing the most attractive item brings: the bandit that does so brings that."""
    world = InterestWorld(InterestSettings())
    greedy = world.value_of(greedy=True)
    assert greedy < 0.6 * world.optimum

    bandit = agent_for(world, "neural_epsilon_greedy", epsilon=0.0)

    class Myopic:
        """The world's own expected reward as score."""

        from_logs = False

        def scores(self, context, candidates):
            return candidates.features[..., 0]

        def rule(self, context, candidates):
            return bandit.rule(context, candidates)

    state, fresh, means = world.begin(2000), tf.ones([2000], tf.bool), []
    for number in range(16):
        made, state, fresh = roll(world, Myopic(), state, fresh, tf.constant([5, number]), 4)
        means.append(np.mean([decision.response.reward for decision in made]))
    assert np.mean(means[10:]) == pytest.approx(greedy, abs=0.015)


def test_decisions_as_tf_agents_reads_them():
    world = InterestWorld(InterestSettings(leaving=0.5))
    fresh = tf.ones([200], tf.bool)
    made, _, after = roll(world, None, world.begin(200), fresh, tf.constant([1, 2]), 3)
    steps = as_trajectory(made)
    assert steps.reward.shape == (200, 3)
    ended = np.stack([decision.response.ended for decision in made], axis=1)
    np.testing.assert_array_equal(steps.discount, 1.0 - ended)
    np.testing.assert_array_equal(steps.next_step_type == StepType.LAST, ended)
    began = np.concatenate([np.ones((200, 1), bool), ended[:, :-1]], axis=1)
    np.testing.assert_array_equal(steps.step_type == StepType.FIRST, began)
    np.testing.assert_array_equal(after, ended[:, -1])


def test_looking_ahead_wins_where_being_greedy_loses():
    world = InterestWorld(InterestSettings())
    results = {
        name: simulate_agent(world, agent_for(world, name), users=256, rounds=300, seed=1)
        for name in ("dqn", "neural_epsilon_greedy")
    }
    last = {name: result.reward[-30:].mean() for name, result in results.items()}
    assert last["dqn"] > results["dqn"].random[-30:].mean() + 0.01
    assert last["dqn"] > last["neural_epsilon_greedy"] + 0.1
    assert last["dqn"] < world.optimum + 0.005


def test_sessions_are_simulated_by_name(tmp_path):
    config = Config(ranking=Ranking(agent=Component("lin_ucb")), simulate=Simulate(users=16, rounds=10))
    metrics = simulate(config, "interest", tmp_path)
    assert metrics["ranking.interest.lin_ucb.regret"]["value"] > 0
    assert metrics["ranking.interest.lin_ucb.per_second"]["value"] > 0


def test_who_learns_from_logs_looks_ahead_without_ever_choosing():
    """The log is a greedy bandit's, which loses to random choices here; its tenth choice at random shows the way."""
    world = InterestWorld(InterestSettings())
    result = simulate_agent(world, agent_for(world, "cql"), users=128, rounds=60, seed=1)
    assert (result.reward - result.random)[-10:].mean() > 0.0
