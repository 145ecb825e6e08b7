"""An agent's probabilities on logged slates: those that its own sampler stated, and off-policy estimates from them."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.config import Component
from tfrec_llm.evaluation import policies
from tfrec_llm.ranking import AGENTS, build_agent, fill_slate, logged_probabilities
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.types import Candidates, SlateFeedback

R, K, C, F, N = 3000, 8, 3, 4, 3
FLOOR, TOP = 0.2, 6


def world(seed=0):
    """Contexts, candidates, what is allowed, and how likely each is taken: the first feature decides."""
    rng = np.random.default_rng(seed)
    context, features = rng.normal(size=(R, C)), rng.normal(size=(R, K, F))
    allowed = rng.random((R, K)) < 0.9
    allowed[:, :N] = True
    taken = 1 / (1 + np.exp(1 - features[..., 0]))
    tensors = (tf.constant(part, tf.float32) for part in (context, features))
    return (*tensors, tf.constant(allowed), tf.constant(taken, tf.float32))


def log_of(agent, seed=0) -> tuple[SlateFeedback, np.ndarray, float]:
    """What the agent shows, what came of it, and what that is worth in truth."""
    context, features, allowed, taken = world(seed)
    candidates = Candidates(tf.zeros([R, K], tf.int32), tf.zeros([R, K]), features, allowed)
    u = tf.random.stateless_uniform([R, N + 1], [seed, 7])
    scores, rule = agent.scores(context, candidates), agent.rule(context, candidates)
    draw = fill_slate(scores, allowed, N, rule, FLOOR, TOP, u, tf.zeros([R], tf.bool))
    chances = tf.gather(taken, tf.maximum(draw.positions, 0), batch_dims=1)
    rewards = tf.cast(tf.random.stateless_uniform([R, N], [seed, 8]) < chances, tf.float32)
    feedback = SlateFeedback(context, features, draw.positions, rewards, draw.propensities)
    return feedback, allowed.numpy(), float(tf.reduce_mean(tf.reduce_sum(chances, axis=1)))


@pytest.mark.parametrize("name", sorted(AGENTS))
def test_on_its_own_log_they_are_the_stated_propensities(name):
    agent = build_agent(Component(name), AgentShape(C, F, K, seed=1))
    feedback, allowed, _ = log_of(agent)
    found = logged_probabilities(agent, feedback, allowed, FLOOR, TOP)
    assert found.shape == (R, N, K)
    np.testing.assert_allclose(found.sum(axis=2), 1.0, atol=1e-4)
    assert not found[~np.broadcast_to(allowed[:, None], found.shape)].any()
    stated = np.take_along_axis(found, feedback.slate.numpy()[..., None], 2)[..., 0]
    np.testing.assert_allclose(stated, feedback.propensities, atol=1e-5)


def test_a_log_tells_what_another_agent_is_worth():
    logger = build_agent(Component("neural_epsilon_greedy", {"epsilon": 0.5}), AgentShape(C, F, K, seed=1))
    feedback, allowed, _ = log_of(logger, seed=1)
    learnt = build_agent(Component("neural_boltzmann", {"temperature": 0.1}), AgentShape(C, F, K, seed=2))
    train = tf.function(learnt.train)
    for _ in range(200):
        train(feedback)
    fresh, allowed, _ = log_of(logger, seed=2)
    policy = logged_probabilities(learnt, fresh, allowed, FLOOR, TOP)
    _, _, truth = log_of(learnt, seed=3)
    logged = SlateFeedback(*(np.asarray(part) for part in fresh))
    settings = {"slots": "interaction"}
    found = policies.estimate_all(logged, policy, policies.cross_fitted(logged), [Component("dr", settings)])["dr"]
    assert found.ci95[0] - 0.02 <= truth <= found.ci95[1] + 0.02
    assert found.value > logged.rewards.sum(axis=1).mean() + 0.05
