"""Linear bandits: the ridge solution by hand, optimism and draws, and the error of a propensity from draws."""

import numpy as np
import tensorflow as tf

from tfrec_llm.config import Component
from tfrec_llm.ranking import build_agent
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.types import Candidates, SlateFeedback

C, F, K = 2, 3, 6


def feedback(seed=0, batch=400) -> SlateFeedback:
    """Reward = .5 + .2 x the first feature + noise."""
    rng = np.random.default_rng(seed)
    context, candidates = rng.normal(size=(batch, C)), rng.normal(size=(batch, K, F))
    slate = rng.integers(0, K, (batch, 1))
    rewards = 0.5 + 0.2 * candidates[np.arange(batch), slate[:, 0], 0] + rng.normal(scale=0.05, size=batch)
    tensors = (tf.constant(part, tf.float32) for part in (context, candidates))
    return SlateFeedback(
        *tensors, tf.constant(slate, tf.int32), tf.constant(rewards[:, None], tf.float32), tf.ones([batch, 1])
    )


def candidates_of(features) -> Candidates:
    batch, count = features.shape[:2]
    return Candidates(
        tf.zeros([batch, count], tf.int32), tf.zeros([batch, count]), features, tf.ones([batch, count], tf.bool)
    )


def test_the_weights_are_those_of_ridge_regression():
    agent = build_agent(Component("lin_ucb", {"l2": 2.0, "pairs": 0}), AgentShape(C, F, K))
    agent.network.inputs_layer.value.assign(0.0)  # no prior
    parts = [feedback(seed) for seed in range(2)]
    for part in parts:
        agent.train(part)
    rows = [np.concatenate([p.context, tf.gather(p.candidates, p.slate[:, 0], batch_dims=1)], axis=1) for p in parts]
    x = np.insert(np.concatenate(rows), 0, 1.0, axis=1)
    y = np.concatenate([p.rewards[:, 0] for p in parts])
    weights = np.linalg.solve(x.T @ x + 2 * np.eye(x.shape[1]), x.T @ y)
    np.testing.assert_allclose(agent.network.mean(agent.network.root()), weights, atol=1e-4)
    scores = agent.scores(parts[0].context, candidates_of(parts[0].candidates))
    inputs = np.concatenate([np.repeat(parts[0].context.numpy()[:, None], K, axis=1), parts[0].candidates], axis=-1)
    np.testing.assert_allclose(scores, weights[0] + inputs @ weights[1:], atol=1e-4)


def test_optimism_shrinks_where_it_has_looked():
    agent = build_agent(Component("lin_ucb"), AgentShape(C, F, K))
    given = feedback(5, batch=20)
    candidates = candidates_of(given.candidates)
    before = agent.rule(given.context, candidates).bonus.numpy()
    for seed in range(5):
        agent.train(feedback(seed))
    after = agent.rule(given.context, candidates).bonus.numpy()
    assert (after < 0.2 * before).all()
    assert (after > 0).all()


def test_forgetting_forgets():
    remembers, forgets = (
        build_agent(Component("lin_ucb", {"forgetting": value}), AgentShape(C, F, K)) for value in (1.0, 0.1)
    )
    old, new = feedback(0), feedback(1)
    new = new._replace(rewards=1.0 - new.rewards)  # the world has turned round
    for agent in (remembers, forgets):
        agent.train(old)
        agent.train(new)
    slopes = [agent.network.mean(agent.network.root())[1 + C].numpy() for agent in (remembers, forgets)]
    assert abs(slopes[0]) < 0.05
    assert slopes[1] < -0.12


def test_propensities_from_draws_are_within_their_stated_error():
    """256 draws against 65,536: the mean squared error is about that of a share of 256 draws."""
    few, many = (
        build_agent(Component("lin_thompson", {"draws": draws, "scale": 0.5}), AgentShape(C, F, K))
        for draws in (256, 65_536)
    )
    for agent in (few, many):
        agent.train(feedback(0))
    given = feedback(9, batch=64)
    candidates, p = candidates_of(given.candidates * 0.05), []  # close calls
    for agent in (few, many):
        scores, rule = agent.scores(given.context, candidates), agent.rule(given.context, candidates)
        p.append(rule.probabilities(scores, candidates.allowed).numpy())
        np.testing.assert_allclose(p[-1].sum(axis=1), 1.0, atol=1e-5)
    error = np.square(p[0] - p[1]).mean()
    assert error < 2 * (p[1] * (1 - p[1]) / 256).mean()
    assert np.median(p[1].max(axis=1)) < 0.99
