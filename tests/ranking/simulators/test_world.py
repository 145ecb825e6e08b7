"""Users in sessions: what they like, what bores them, when they leave; numbers derived by hand."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.ranking.objectives import ItemTables, Parts
from tfrec_llm.ranking.practice import returns
from tfrec_llm.ranking.simulators import Play, ResponseTables, Sessions, Visitors, play, session_metrics, taking_event
from tfrec_llm.ranking.simulators.played import Decided, grow, steps
from tfrec_llm.types import History, Objectives, SessionHabits

# two directions of taste, one item along each (2 and 3), item 4 like 2; categories as tastes
TABLES = ResponseTables(
    user=np.array([[2.0, 0.0], [0.0, 2.0]]),
    user_bias=np.array([0.0, -1.0]),
    item=np.array([[0, 0], [0, 0], [1, 0], [0, 1], [1, 0]], float),
    item_bias=np.array([0.0, 0.0, 0.0, 0.0, 1.0]),
)
ITEMS = ItemTables(
    categories=tf.constant([[0.0, 0], [0, 0], [1, 0], [0, 1], [1, 0]]),
    suppliers=tf.constant([[0.0], [0], [1], [1], [1]]),
    fair=tf.constant([1.0]),
    harm=tf.zeros([5]),
)
HABITS = SessionHabits(
    attention=0.5, drift=0.25, boredom=2.0, memory=0.5, leaving=0.1, disappointment=0.4, requests=3
)  # fmt: skip


def world(domain, factor=1.0):
    own = dataclasses.replace(domain, session=HABITS, objectives=Objectives(1.0, 0.0, 0.0, 0.0))
    return Sessions(TABLES, ITEMS, own, factor)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_new_users_respond_as_the_tables_say(domain):
    state = world(domain).begin(tf.constant([0, 1]))
    found = world(domain).probabilities(state, tf.constant([[2, 3, 4, 0]] * 2)).numpy()
    np.testing.assert_allclose(found[0], [sigmoid(2), 0.5, sigmoid(3), 0], rtol=1e-6)
    np.testing.assert_allclose(found[1], [sigmoid(-1), sigmoid(1), 0.5, 0], rtol=1e-6)


def test_a_request_is_worth_its_expectation_and_moves_the_state_by_what_is_drawn(domain):
    own = world(domain)
    state = own.begin(tf.constant([0]))
    # the second item is looked at (.4 < .5), the first liked (.1 < .88), the second not (.9 > .5), the user stays
    outcome = own.respond(state, tf.constant([[2, 3]]), tf.constant([[0.4, 0.1, 0.9, 0.99]]))
    engagement = (sigmoid(2) + 0.5 * 0.5) / 1.5
    assert outcome.reward.numpy() == pytest.approx([engagement], rel=1e-6)
    assert outcome.taken.numpy().tolist() == [[2, 0]]
    np.testing.assert_allclose(outcome.state.bored, [[0.5, 0.5]])
    towards = 2 * np.sqrt(0.5)  # the mean of both directions, as long as the interest
    np.testing.assert_allclose(outcome.state.interest, [[1.5 + 0.25 * towards, 0.25 * towards]], rtol=1e-6)
    assert outcome.state.stays.numpy() == [1.0]


def test_who_is_bored_responds_less_and_who_is_not_looked_at_changes_nothing(domain):
    own = world(domain)
    state = own.begin(tf.constant([0]))._replace(bored=tf.constant([[0.5, 0.0]]))
    assert own.probabilities(state, tf.constant([[2, 3]])).numpy()[0] == pytest.approx([sigmoid(2 - 1), 0.5])
    unseen = own.respond(state, tf.constant([[2, 3]]), tf.constant([[0.6, 0.1, 0.1, 0.99]]))  # .6: not looked at
    assert unseen.taken.numpy().tolist() == [[2, 0]]
    np.testing.assert_allclose(unseen.state.bored, [[0.25 + 1, 0.0]])


def test_users_leave_by_disappointment_and_bring_nothing_afterwards(domain):
    own = world(domain)
    state = own.begin(tf.constant([0, 0]))
    engagement = sigmoid(2)
    border = 0.1 + 0.4 * (1 - engagement)
    numbers = tf.constant([[0.0, border - 0.01], [0.0, border + 0.01]], tf.float32)
    outcome = own.respond(state, tf.constant([[2], [2]]), numbers)
    assert outcome.state.stays.numpy().tolist() == [0.0, 1.0]
    after = own.respond(outcome.state, tf.constant([[3], [3]]), numbers)
    assert after.reward.numpy()[0] == 0
    assert after.reward.numpy()[1] > 0
    assert after.taken.numpy().tolist() == [[0], [3]]


def test_at_factor_nought_nobody_changes_or_leaves(domain):
    own = world(domain, 0.0)
    state = own.begin(tf.constant([0]))._replace(bored=tf.constant([[5.0, 5.0]]))
    outcome = own.respond(state, tf.constant([[3]]), tf.constant([[0.0, 0.0]]))
    np.testing.assert_array_equal(outcome.state.interest, state.interest)
    assert outcome.state.stays.numpy() == [1.0]
    assert own.probabilities(state, tf.constant([[2]])).numpy()[0, 0] == pytest.approx(sigmoid(2))


def test_histories_grow_at_the_end_and_keep_the_newest():
    history = History(tf.constant([[5, 6, 0], [5, 6, 7]]), tf.ones([2, 3], tf.int32), tf.ones([2, 3], tf.int64))
    grown = grow(history, tf.constant([[0, 9], [8, 9]]), 3, tf.constant([100, 200], tf.int64))
    assert grown.item.numpy().tolist() == [[5, 6, 9], [7, 8, 9]]
    assert grown.event.numpy().tolist() == [[1, 1, 3], [1, 3, 3]]
    assert grown.time.numpy().tolist() == [[1, 1, 100], [1, 200, 200]]


def visitors(count=40):
    empty = History(np.zeros((count, 4), np.int32), np.zeros((count, 4), np.int32), np.zeros((count, 4), np.int64))
    return Visitors(np.zeros(count, np.int32), empty, np.zeros(count, np.int64), np.zeros((count, 1), np.int32))


def always(*items):
    def policy(asked):
        slate = tf.constant([items] * asked.time.shape[0])
        return Decided(slate, tf.constant([[2, 3]] * asked.time.shape[0]))

    return policy


def test_equal_policies_have_equal_sessions_and_better_ones_longer(domain):
    own = world(domain)
    good, again, bad = (play(own, always(*s), visitors(), 3, 7, 16, "") for s in ((2, 3), (2, 3), (3, 2)))
    np.testing.assert_array_equal(good.reward, again.reward)
    assert good.requests.max() <= 3
    assert good.reward.sum() > bad.reward.sum()
    assert good.requests.sum() >= bad.requests.sum()
    assert good.changed.sum() == 0
    np.testing.assert_array_equal(bad.changed, bad.requests)


def test_histories_hold_what_was_taken(domain):
    seen = []

    def policy(asked):
        seen.append(asked)
        return always(2, 3)(asked)

    played = list(steps(world(domain), policy, visitors(5), 3, 0))
    taken = played[0].outcome.taken.numpy()
    items = seen[1].history.item.numpy()
    assert played[1].rows.tolist() == np.flatnonzero(played[0].outcome.state.stays.numpy()).tolist()
    for held, row in zip(items, played[1].rows, strict=True):
        assert held[held > 0].tolist() == taken[row][taken[row] > 0].tolist()
    assert len({name.decode() for asked in seen for name in asked.request_id.numpy()}) == len(seen)


def test_gains_are_relative_to_the_blend():
    parts = Parts(*(np.ones(4) for _ in range(4)))
    ours = Play(np.array([2.0, 4, 2, 4]), np.full(4, 2.0), np.array([1.0, 1, 0, 0]), parts, np.zeros((4, 1)))
    blend = ours._replace(reward=ours.reward / 2)
    found = session_metrics({"1": (ours, blend), "2": (ours, ours)}, "agent", Objectives(), 200, 0, "test")
    assert found["ranking.session.gain|drift_1"]["value"] == pytest.approx(1.0)
    assert found["ranking.session.gain|drift_1"]["ci95"] == pytest.approx([1.0, 1.0])  # every user gains as much
    assert found["ranking.session.gain|drift_2"]["value"] == pytest.approx(0.0)
    assert found["ranking.session.agent.reward"]["value"] == 3.0
    assert found["ranking.session.blend.reward|drift_1"]["value"] == 1.5
    assert found["ranking.session.changed_share"]["value"] == pytest.approx(0.25)
    assert found["ranking.session.agent.share_engagement"]["value"] == pytest.approx(0.7)


def test_the_event_of_taking_is_the_commonest_good_one(dataset):
    assert taking_event(dataset) == 3  # a purchase


def test_returns_are_means_over_the_requests_to_come():
    rewards = np.array([[0.5], [0.2], [0.4]])
    np.testing.assert_allclose(returns(rewards, 4)[:, 0], [0.6 / 3, 0.4 / 2, 0.0])
