"""The parts of a slate's reward, with numbers derived by hand."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.ranking.objectives import (
    ItemTables,
    Parts,
    harm,
    harmful_events,
    membership,
    shares,
    slate_parts,
    slot_credits,
    weigh,
)
from tfrec_llm.types import Objectives

# items 2 and 3 are of category 0, item 4 of category 1, item 5 of none; suppliers: 2 of A, the others of B
ITEMS = ItemTables(
    categories=tf.constant([[0.0, 0], [0, 0], [1, 0], [1, 0], [0, 1], [0, 0]]),
    suppliers=tf.constant([[0.0, 0], [0, 0], [1, 0], [0, 1], [0, 1], [0, 1]]),
    fair=tf.constant([0.25, 0.75]),
    harm=tf.constant([0.0, 0, 0.5, 0, 0, 0.1]),
)
ATTENTION = tf.constant([[1.0, 0.5, 0.5]])


def parts_of(slate, response=(1.0, 1.0, 1.0)):
    return slate_parts(tf.constant([response]), ATTENTION, tf.constant([slate]), ITEMS)


def test_engagement_and_safety_are_means_by_attention():
    found = parts_of([2, 3, 4], (1.0, 0.0, 0.5))
    assert found.engagement.numpy() == pytest.approx([(1 + 0.5 * 0.5) / 2])
    assert found.safety.numpy() == pytest.approx([1 - 0.5 * 0.5])


def test_diversity_is_the_mean_distance_of_pairs():
    assert parts_of([2, 3, 4]).diversity.numpy() == pytest.approx([2 / 3])  # of three pairs one is alike
    assert parts_of([2, 3, 5]).diversity.numpy() == pytest.approx([0.0])  # 5 has no category: one pair, alike
    assert parts_of([2, 5, 0]).diversity.numpy() == pytest.approx([1.0])  # no pair


def test_fairness_is_how_near_exposure_is_to_the_shares():
    assert parts_of([2, 3, 4]).fairness.numpy() == pytest.approx([0.75])  # A gets 1/2 in place of 1/4
    assert parts_of([3, 2, 4]).fairness.numpy() == pytest.approx([1.0])  # A gets 1/4


def test_an_empty_slate_is_worth_nothing_and_harms_nobody():
    found = parts_of([0, 0, 0])
    assert [float(part[0]) for part in found] == [0.0, 0.0, 0.0, 1.0]


def test_weights_and_shares():
    parts = Parts(*(np.array([value]) for value in (0.5, 1.0, 0.0, 1.0)))
    objectives = Objectives(0.4, 0.3, 0.2, 0.1)
    assert weigh(parts, objectives).numpy() == pytest.approx([0.2 + 0.3 + 0.1])
    assert shares(parts, objectives) == pytest.approx(
        {"engagement": 1 / 3, "diversity": 1 / 2, "fairness": 0.0, "safety": 1 / 6}
    )


def test_credits_say_which_slot_brought_what():
    slate, response = tf.constant([[2, 3, 0]]), tf.constant([[0.2, 0.8, 0.9]])
    only = {"engagement": 0.0, "diversity": 0.0, "fairness": 0.0, "safety": 0.0}
    credit = {
        name: slot_credits(response, ATTENTION, slate, ITEMS, Objectives(**only | {name: 1.0})).numpy()[0]
        for name in only
    }
    assert credit["engagement"] == pytest.approx([0.2, 0.8, 0.0])
    assert credit["diversity"] == pytest.approx([0.0, 0.0, 0.0])  # both of one category
    assert credit["fairness"] == pytest.approx([0.0, 1.0, 0.0])  # A has 2/3 of the exposure, more than its share
    assert credit["safety"] == pytest.approx([0.5, 1.0, 0.0])


def test_suppliers_and_harm_of_a_catalogue(dataset):
    np.testing.assert_array_equal(membership(dataset.catalogue, "genre")[2:5], [[1, 0], [0.5, 0.5], [0, 1]])
    np.testing.assert_array_equal(  # there is no such attribute: the first is taken
        membership(dataset.catalogue, "studio"), membership(dataset.catalogue, "genre")
    )
    assert harmful_events(dataset.domain).tolist() == [4]
    mean = 2 / 8  # 2 of the 8 training events are returns, both of item 3
    assert harm(dataset)[2] == pytest.approx(20 * mean / 24)
    assert harm(dataset)[3] == pytest.approx((2 + 20 * mean) / 24)
    denied = dataclasses.replace(dataset, domain=dataclasses.replace(dataset.domain, deny=("genre=b",)))
    assert harm(denied)[2:5].tolist() == pytest.approx([20 * mean / 24, 1.0, 1.0])
