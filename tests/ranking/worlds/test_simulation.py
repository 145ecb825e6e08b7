import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.config import Component, Config, ConfigError, Ranking, Simulate
from tfrec_llm.ranking import AGENTS, WORLDS, build_agent, simulate, simulate_agent
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.ranking.worlds.environments import DriftingSettings, DriftingWorld


@pytest.mark.parametrize("name", sorted(WORLDS))
class TestWorlds:
    def world(self, name):
        settings, builder = WORLDS[name]
        return builder(settings(), seed=3)

    def test_shapes_and_range(self, name):
        world = self.world(name)
        context, features, expected = world.observe(50, tf.constant([1, 2]))
        assert context.shape == (50, world.context_dim)
        assert features.shape == (50, world.num_actions, world.feature_dim)
        reward = world.reward(expected, tf.constant([3, 4]))
        assert 0 <= np.min(reward) <= np.max(reward) <= 1

    def test_the_seed_decides_everything(self, name):
        once, again = self.world(name).observe(5, tf.constant([1, 2])), self.world(name).observe(5, tf.constant([1, 2]))
        other = self.world(name).observe(5, tf.constant([1, 3]))
        for a, b, c in zip(once, again, other, strict=True):
            np.testing.assert_array_equal(a, b)
            assert (a.numpy() != c.numpy()).any()

    def test_rewards_are_unbiased(self, name):
        expected = tf.fill([20_000], 0.5)
        assert np.mean(self.world(name).reward(expected, tf.constant([5, 6]))) == pytest.approx(0.5, abs=0.005)


def test_the_linear_world_is_linear():
    settings, builder = WORLDS["linear"]
    context, features, expected = builder(settings(), seed=0).observe(100, tf.constant([0, 0]))
    joint = np.concatenate([np.repeat(context[:, None], 20, axis=1), features, np.ones((100, 20, 1))], axis=-1)
    joint, expected = joint.reshape(2000, -1), expected.numpy().reshape(-1)
    weights, *_ = np.linalg.lstsq(joint, expected, rcond=None)
    np.testing.assert_allclose(joint @ weights, expected, atol=1e-5)


def test_taste_turns_round_once_in_a_period():
    world = DriftingWorld(DriftingSettings(period=8), seed=2)
    tastes = np.stack([world.taste(tf.constant(number)) for number in range(9)])
    np.testing.assert_allclose(np.linalg.norm(tastes, axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(tastes @ tastes[0], np.cos(np.arange(9) * np.pi / 4), atol=1e-6)
    before, after = (world.observe(50, tf.constant([1, 2]), number) for number in (0, 4))
    np.testing.assert_array_equal(before.features, after.features)
    constant = (before.expected + after.expected) / 2  # what does not depend on the item: taste is the opposite
    np.testing.assert_allclose(constant, np.tile(constant[:, :1], 20), atol=1e-6)


def test_who_forgets_does_better_where_taste_drifts():
    world = DriftingWorld(DriftingSettings(period=40), seed=1)
    shape = AgentShape(world.context_dim, world.feature_dim, world.num_actions, seed=1)
    reached = {}
    for forgetting in (0.3, 1.0):
        agent = build_agent(Component("lin_ucb", {"forgetting": forgetting, "pairs": 0}), shape)
        result = simulate_agent(world, agent, users=128, rounds=60, seed=1)
        reached[forgetting] = (result.reward[20:] / result.optimum[20:]).mean()
    assert reached[0.3] > 0.95
    assert reached[1.0] < 0.85


def test_a_drifting_world_needs_a_plane_to_turn_in():
    with pytest.raises(ValueError, match="feature_dim of at least 2, got 1"):
        DriftingSettings(feature_dim=1)


@pytest.mark.parametrize("name", sorted(AGENTS))
def test_agents_come_near_the_known_optimum_and_fast(name):
    settings, builder = WORLDS["linear"]
    world = builder(settings(), seed=1)
    agent = build_agent(Component(name), AgentShape(world.context_dim, world.feature_dim, world.num_actions, seed=1))
    result = simulate_agent(world, agent, users=256, rounds=200, seed=1)
    assert len(result.reward) == len(result.regret) == 200
    assert result.per_second > 2_000  # 50,000 and more on an idle machine; the tests may run on a busy one
    if agent.from_logs:  # as good as whom it reads, and better than random
        assert (result.reward - result.random)[-20:].mean() > 0.05
        return
    assert result.regret[-20:].mean() < 0.2 * result.regret[:5].mean()
    reached = (result.reward - result.random)[-20:].mean() / (result.optimum - result.random)[-20:].mean()
    assert reached >= 0.9


def test_simulate_writes_the_metrics_of_the_contract(tmp_path):
    config = Config(ranking=Ranking(agent=Component("neural_epsilon_greedy")), simulate=Simulate(users=64, rounds=70))
    metrics = simulate(config, "linear", tmp_path)
    parts = ("reward", "regret", "optimum_share")
    assert set(metrics) == {
        *(f"ranking.linear.{who}.{what}" for who in ("neural_epsilon_greedy", "random") for what in parts),
        "ranking.linear.neural_epsilon_greedy.per_second",
    }
    assert all(set(entry) == {"value", "ci95", "over", "n", "split"} for entry in metrics.values())
    assert (
        metrics["ranking.linear.random.regret"]["value"]
        > metrics["ranking.linear.neural_epsilon_greedy.regret"]["value"]
    )
    assert list((tmp_path / "linear" / "neural_epsilon_greedy").glob("events*"))


def test_an_unknown_world_is_refused(tmp_path):
    known = "drifting, interest, interest_slates, linear"
    with pytest.raises(ConfigError, match=rf"simulate\.worlds: expected one of {known}, got 'mars'"):
        simulate(Config(), "mars", tmp_path)
