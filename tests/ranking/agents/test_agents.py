"""What every line of AGENTS must keep; a new agent is tested by being there."""

import functools
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.config import Component, ConfigError
from tfrec_llm.ranking import AGENTS, build_agent, fill_slate
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.training import load_weights, save_weights
from tfrec_llm.types import Candidates, SlateFeedback

B, K, C, F = 6, 9, 4, 3


@pytest.fixture(params=sorted(AGENTS))
def name(request):
    return request.param


def build(name, seed=0):
    return build_agent(Component(name), AgentShape(C, F, K, prior=2, seed=seed))


def situation(seed=0, batch=B):
    rng = np.random.default_rng(seed)
    scores = -np.sort(-rng.normal(size=(batch, K)), axis=1)
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    features = np.concatenate([rng.normal(size=(batch, K, F - 1)), p[..., None]], axis=-1)
    ids = tf.constant(rng.permuted(np.tile(np.arange(2, K + 2), (batch, 1)), axis=1), tf.int32)
    allowed = tf.constant(rng.random((batch, K)) < 0.7)
    context = tf.constant(rng.normal(size=(batch, C)), tf.float32)
    return context, Candidates(ids, tf.constant(scores, tf.float32), tf.constant(features, tf.float32), allowed)


def feedback(seed=0, batch=32, n=4):
    rng = np.random.default_rng(seed)
    context, candidates = situation(seed, batch)
    slate = tf.constant(rng.permuted(np.tile(np.arange(K), (batch, 1)), axis=1)[:, :n], tf.int32)
    rewards = tf.constant(rng.random((batch, n)) < 0.3, tf.float32)
    return SlateFeedback(context, candidates.features, slate, rewards, tf.fill([batch, n], 0.25))


@functools.cache
def trained(name, steps=5):
    agent = build(name)
    train = tf.function(agent.train)
    for step in range(steps):
        train(feedback(step))
    return agent


def slate_of(agent, context, candidates, n=5, greedy=False):
    batch = context.shape[0]
    u = tf.random.stateless_uniform([batch, n], [1, 2])
    scores = agent.scores(context, candidates)
    return fill_slate(
        scores, candidates.allowed, n, agent.rule(context, candidates), 0.1, 4, u, tf.fill([batch], greedy)
    )


def test_untrained_it_ranks_as_the_blend(name):
    context, candidates = situation()
    agent = build(name)
    agent.network.adapt(context.numpy(), candidates.features.numpy().reshape(-1, F), value=0.7)
    order = np.argsort(-agent.scores(context, candidates).numpy(), axis=1, kind="stable")
    np.testing.assert_array_equal(order, np.tile(np.arange(K), (B, 1)))


def test_scores_are_finite_rewards_even_for_extreme_inputs(name):
    agent = trained(name)
    context, candidates = situation()
    extreme = candidates._replace(features=candidates.features * tf.constant([1e6, -1e6, 1.0]))
    for features in (candidates, extreme, candidates._replace(features=tf.zeros_like(candidates.features))):
        scores = agent.scores(context * 1e6, features).numpy()
        assert scores.shape == (B, K)
        assert np.isfinite(scores).all()


def test_only_allowed_items_are_shown_and_none_twice(name):
    agent = trained(name)
    context, candidates = situation(7, batch=40)
    draw = slate_of(agent, context, candidates)
    for positions, propensities, allowed in zip(*(t.numpy() for t in (*draw[:2], candidates.allowed)), strict=True):
        shown = positions[positions >= 0]
        assert len(set(shown)) == len(shown) == min(5, allowed.sum())
        assert allowed[shown].all()
        assert (propensities[positions >= 0] > 0).all()
        assert (propensities <= 1 + 1e-6).all()


def test_a_row_is_scored_alone_as_in_a_batch(name):
    agent = trained(name)
    context, candidates = situation()
    together = agent.scores(context, candidates).numpy()
    for b in range(B):
        alone = agent.scores(context[b : b + 1], Candidates(*(t[b : b + 1] for t in candidates))).numpy()
        np.testing.assert_allclose(alone[0], together[b], rtol=1e-5)


def test_training_changes_scores_and_lowers_the_loss(name):
    agent, batch = build(name), feedback()
    train = tf.function(agent.train)
    losses = [float(train(batch)) for _ in range(60)]
    assert losses[-1] < losses[0]
    assert np.isfinite(losses).all()


def test_empty_slots_teach_nothing(name):
    full, first = feedback(), [build(name), build(name)]
    half = SlateFeedback(*(t[:16] for t in full))
    empty = tf.concat([full.slate[:16], tf.fill([16, 4], -1)], axis=0)
    padded = full._replace(slate=empty, rewards=tf.where(empty < 0, 0.0, full.rewards))
    losses = [float(agent.train(batch)) for agent, batch in zip(first, (half, padded), strict=True)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    context, candidates = situation()
    scores = [agent.scores(context, candidates).numpy() for agent in first]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-4)


def test_the_training_step_compiles_under_xla_to_the_same_loss(name):
    plain, compiled = build(name), build(name)
    steps = tf.function(plain.train), tf.function(compiled.train, jit_compile=True)
    for seed in range(3):
        losses = [float(step(feedback(seed))) for step in steps]
        assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_saved_and_loaded_it_decides_the_same(name, tmp_path):
    agent, other = trained(name), build(name, seed=99)
    save_weights(agent.network, tmp_path / "weights.npz")
    load_weights(other.network, tmp_path / "weights.npz")
    context, candidates = situation(3)
    for mine, theirs in zip(slate_of(agent, context, candidates), slate_of(other, context, candidates), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_it_decides_the_same_in_a_saved_model(name, tmp_path):
    agent = trained(name)
    context, candidates = situation(3)

    class Served(tf.Module):
        def __init__(self):
            super().__init__()
            self.agent = agent

        @tf.function(input_signature=[tf.TensorSpec([None, C]), tf.TensorSpec([None, K, F])])
        def decide(self, context, features):
            allowed = tf.ones(tf.shape(features)[:2], tf.bool)
            candidates = Candidates(None, None, features, allowed)
            scores, rule = self.agent.scores(context, candidates), self.agent.rule(context, candidates)
            batch = tf.shape(features)[0]
            u = tf.random.stateless_uniform([batch, 5], [1, 2])
            return fill_slate(scores, allowed, 5, rule, 0.1, 4, u, tf.zeros([batch], tf.bool))

    served = Served()
    tf.saved_model.save(served, str(tmp_path / "model"))
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    ours, theirs = (part.decide(context, candidates.features) for part in (served, loaded))
    np.testing.assert_array_equal(ours.positions, theirs.positions)
    np.testing.assert_allclose(ours.propensities, theirs.propensities, rtol=1e-5)


def test_unknown_agents_and_settings_are_refused():
    shape = AgentShape(C, F, K)
    with pytest.raises(ConfigError, match=r"expected one of .*neural_epsilon_greedy"):
        build_agent(Component("sarsa"), shape)
    with pytest.raises(ConfigError, match="unknown key 'epsilo'; did you mean 'epsilon'"):
        build_agent(Component("neural_epsilon_greedy", {"epsilo": 0.1}), shape)
    with pytest.raises(ConfigError, match="at most 1"):
        build_agent(Component("neural_epsilon_greedy", {"epsilon": 2.0}), shape)


def test_restating_the_seed_gives_the_same_agent(name):
    context, candidates = situation()
    once, again = build(name, seed=5), build(name, seed=5)
    for agent in (once, again):
        agent.train(feedback(1))
        agent.train(feedback(2))
    np.testing.assert_array_equal(once.scores(context, candidates), again.scores(context, candidates))


WITHOUT = """
import sys
sys.modules["tf_agents"] = None
import tfrec_llm.ranking.exploration, tfrec_llm.ranking.rewards, tfrec_llm.ranking as ranking
ranking.fill_slate
try:
    ranking.AGENTS
except ImportError as error:
    print(error)
"""


def test_without_tf_agents_the_sampler_works_and_agents_say_what_to_install():
    run = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    assert "pip install --no-deps -r requirements.lock && pip install --no-deps ." in run.stdout
