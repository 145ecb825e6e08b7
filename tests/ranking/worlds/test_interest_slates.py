"""Slates in the world of interest: how often what is taken, what that brings and changes, and the known values."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.ranking.worlds.interest import InterestSettings, InterestWorld
from tfrec_llm.ranking.worlds.interest_slates import InterestSlates, InterestSlatesSettings


def test_users_take_as_the_conditional_logit_says():
    world = InterestSlates(InterestSlatesSettings(leaving=0.001, noise=0.0))
    state, count = tf.fill([20_000, 1], 2.0), 20_000
    alike = world.observe(state[:1], tf.constant([0, 1]))
    situation = type(alike)(*(tf.repeat(part, count, axis=0) for part in alike))
    positions = tf.tile(tf.constant([[4, 0, 7]]), [count, 1])
    response = world.respond(state, situation, positions, tf.constant([2, 3]))
    bait = situation.features.numpy()[0, [4, 0, 7], 0]
    pulls = np.append(np.exp(2.0 * bait), 1.0)
    slots = np.append(np.arange(3), -1)
    shares = [(response.taken.numpy() == slot).mean() for slot in slots]
    np.testing.assert_allclose(shares, pulls / pulls.sum(), atol=0.012)
    stayed = ~response.ended.numpy()
    brings = np.append((0.6 + 0.4 * bait) / (1 + np.exp(-0.4)), 0.0)
    after = np.append(0.9 * 2.0 + 1 - 2 * bait, 0.9 * 2.0)
    for slot, reward, interest in zip(slots, brings, after, strict=True):
        taken = (response.taken.numpy() == slot) & stayed
        np.testing.assert_allclose(response.reward.numpy()[taken], reward, rtol=1e-5)
        np.testing.assert_allclose(response.state.numpy()[taken, 0], interest, rtol=1e-5)


def test_a_slate_of_one_that_is_taken_half_the_time_brings_about_half():
    settings = {"num_actions": 5, "memory": 0.5}
    one = InterestSlates(InterestSlatesSettings(slate=1, drawn=0.0, **settings))
    # half of the decisions bring nothing and change nothing: less than the world in which all do, but more than none
    assert 0.2 < one.optimum / InterestWorld(InterestSettings(**settings)).optimum < 0.6


@pytest.mark.parametrize("slate", [1, 2])
def test_being_greedy_loses(slate):
    world = InterestSlates(InterestSlatesSettings(num_actions=6, slate=slate))
    assert world.value_of(greedy=True) < 0.9 * world.optimum
