"""An agent that practises with users of known taste shows them more of what they like."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.config import Component, Ranking
from tfrec_llm.ranking import build_agent
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.ranking.objectives import ItemTables
from tfrec_llm.ranking.practice import Practice, learning_policy, practise
from tfrec_llm.ranking.simulators import ResponseTables, Sessions, Visitors, play
from tfrec_llm.types import Candidates, History, Objectives, SessionHabits

ITEMS, USERS = 14, 64
SETTINGS = Ranking(simulate_sessions=3, session_users=64, slate=2, batch_size=32, explore_top=12)


@pytest.fixture
def practice(domain):
    """Half of the users like the even items, half the odd ones; the context says who does."""
    side = np.where(np.arange(ITEMS) % 2, -1.0, 1.0)[:, None]
    taste = np.where(np.arange(USERS) % 2, -2.0, 2.0)[:, None]
    tables = ResponseTables(taste, np.zeros(USERS), side, np.zeros(ITEMS))
    one = tf.ones([ITEMS, 1])
    items = ItemTables(one, one, tf.ones([1]), tf.zeros([ITEMS]))
    habits = SessionHabits(drift=0.0, boredom=0.0, leaving=0.0, disappointment=0.2, requests=3)
    own = dataclasses.replace(domain, session=habits, objectives=Objectives(1.0, 0.0, 0.0, 0.0))
    zeros = np.zeros((USERS, 4), np.int32)
    exclude = np.arange(USERS, dtype=np.int32)[:, None]  # tells the agent who asks
    visitors = Visitors(np.arange(USERS, dtype=np.int32), History(zeros, zeros, zeros), np.zeros(USERS, int), exclude)

    def observe(asked):
        who = tf.gather(tf.constant(taste, tf.float32), asked.exclude[:, 0])  # [B, 1]
        ids = tf.tile(tf.range(2, ITEMS)[None], [tf.shape(who)[0], 1])
        features = tf.gather(tf.constant(side, tf.float32), ids)
        features = tf.concat([features, tf.fill(tf.shape(features), 1 / 12)], -1)
        return who, Candidates(ids, tf.zeros_like(ids, tf.float32), features, tf.ones_like(ids, tf.bool))

    return Practice(Sessions(tables, items, own), visitors, observe, 3)


def build(name, **settings):
    return build_agent(Component(name, settings), AgentShape(1, 2, 12, prior=1))


def reward_of(agent, practice):
    policy = learning_policy(agent, practice.observe, dataclasses.replace(SETTINGS, replay_exploration=0.02))
    return play(practice.sessions, policy, practice.visitors, 3, 5, 64, "").reward.mean()


def test_practice_teaches_who_likes_what(practice):
    agent = build("session_values", learning_rate=0.03)
    before = reward_of(agent, practice)
    done = list(practise(agent, practice, SETTINGS, 0, lambda: True))
    assert len(done) == 3
    assert done[-1].loss < done[0].loss
    assert done[0].shares == pytest.approx({"engagement": 1, "diversity": 0, "fairness": 0, "safety": 0})
    assert reward_of(agent, practice) > before + 0.3  # of 3; half of what is shown fits before, nearly all after
    assert float(agent.network.practised) == 1


def test_greedy_answers_stay_those_of_the_replay(practice):
    agent = build("session_values")
    asked = practice.observe(practice.visitors)
    before = agent.scores(*asked).numpy()
    list(practise(agent, practice, SETTINGS, 0, lambda: True))
    np.testing.assert_array_equal(before, agent.scores(*asked))


@pytest.mark.parametrize("name", ["session_values", "neural_epsilon_greedy"])
def test_a_round_that_costs_too_much_is_undone(practice, name):
    agent = build(name)
    before = [variable.numpy() for variable in agent.network.variables]
    assert list(practise(agent, practice, SETTINGS, 0, lambda: False)) == []
    for variable, value in zip(agent.network.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
