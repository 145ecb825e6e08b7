"""retrieval.catalogue_facts: deny-list, popularity, price, principal components."""

import dataclasses

import numpy as np
import pytest

from tfrec_llm.data.shown import shown_items
from tfrec_llm.retrieval.catalogue_facts import (
    CONTENT_DIM,
    item_facts,
    mean_worth,
    principal_components,
    smoothed_log,
    training_counts,
    with_attributes,
)
from tfrec_llm.types import Catalogue, ItemVectors


def catalogue(**changes):
    ids = np.array(["", "[unknown]", "a", "b", "c"])
    kinds = ((), (), ("Horror", "Drama"), ("Comedy",), ())
    price = np.array([np.nan, np.nan, np.e - 1, np.nan, np.exp(3) - 1], np.float32)
    whole = Catalogue(ids, ids, ids, {"genre": kinds}, price, np.array([False, False, True, True, True]))
    return dataclasses.replace(whole, **changes)


@pytest.mark.parametrize(
    ("deny", "want"), [((), "abc"), (("b",), "ac"), (("genre=Horror",), "bc"), (("genre=None", "no=Drama", "x"), "abc")]
)
def test_deny_list(toy_domain, deny, want):
    goods = catalogue()
    assert "".join(goods.item_ids[shown_items(goods, toy_domain(deny=deny))]) == want


def test_what_is_not_available_is_not_shown(toy_domain):
    goods = catalogue(available=np.array([True, True, True, False, True]))
    assert shown_items(goods, toy_domain()).tolist() == [False, False, True, False, True]


def test_counts_are_of_training_events_only(world):
    dataset = world().dataset
    counts = training_counts(dataset)
    assert counts.sum() == dataset.split.train.sum()
    dataset.interactions.item[~dataset.split.train] = 2
    np.testing.assert_array_equal(counts, training_counts(dataset))


def test_smoothed_log_by_hand():
    got = smoothed_log(np.array([0, 0, 1.5, 0.5]))
    np.testing.assert_allclose(got, [0, 0, np.log(2) / 2, -np.log(2) / 2], rtol=1e-5)


def test_facts_by_hand(world):
    dataset = world().dataset
    log = dataclasses.replace(dataset.interactions, item=np.minimum(dataset.interactions.item, 4))
    dataset = dataclasses.replace(dataset, catalogue=catalogue(), interactions=log)
    facts = item_facts(dataset, {"towers": np.eye(5)}, np.array([0, 0, 7.5, 0.5, 0.5]))
    assert facts.shape == (5, 3 + CONTENT_DIM)
    assert not facts[:2].any()
    np.testing.assert_allclose(facts[2:, 0], [np.sqrt(2), -np.sqrt(0.5), -np.sqrt(0.5)], rtol=1e-5)
    np.testing.assert_allclose(facts[2:, 1], [-1, 0, 1], atol=1e-5)  # log prices 1 and 3; the unknown one counts 0


def test_worth_is_the_mean_reward_of_training_events_shrunk_to_that_of_all(world):
    dataset = world().dataset
    domain = dataclasses.replace(dataset.domain, rewards={dataset.domain.events[0]: 0.5})
    log, rows = dataset.interactions, dataset.split.train
    value = np.where(log.event == 2, 0.5, 0.0)[rows]
    found = mean_worth(dataclasses.replace(dataset, domain=domain))
    own = value[log.item[rows] == 3]
    assert found[3] == pytest.approx((own.sum() + 20 * value.mean()) / (len(own) + 20))


def test_components_find_the_direction_of_most_variance():
    along = np.array([-2.0, -1, 0, 1, 2])
    table = np.vstack([np.zeros([2, 3]), np.outer(along, [3.0, 4.0, 0.0]) + 7])
    found = principal_components({"towers": table}, 2)
    np.testing.assert_allclose(found[2:, 0], along / along.std(), atol=1e-6)
    np.testing.assert_allclose(found[:, 1], 0, atol=1e-6)


def test_one_item_or_equal_items_stay_finite():
    assert np.isfinite(principal_components({"towers": np.ones([3, 4])}, 8)).all()
    assert np.isfinite(principal_components({"towers": np.ones([9, 4])}, 8)).all()


def test_attributes_stand_behind_the_text():
    ids, kinds = np.array(["", "[unknown]", *map(str, range(10))]), ((), (), *[("Horror",)] * 5, *[("Comedy",)] * 5)
    told = catalogue(item_ids=ids, attributes={"genre": kinds}, price=np.full(12, np.nan, np.float32))
    text = np.pad(np.eye(10, 3, dtype=np.float32), [(2, 0), (0, 0)])
    items = ItemVectors(text, None, None, None, text.any(axis=1)[:, None])
    found = with_attributes(items, told)
    np.testing.assert_array_equal(found.text[:, :3], text)
    assert [len(np.unique(part, axis=0)) for part in (found.text[2:7, 3:], found.text[7:, 3:])] == [1, 1]
    assert found.present[:, 0].tolist() == [False] * 2 + [True] * 10
    assert with_attributes(None, told).text.shape == (12, 2)
    bare = catalogue(item_ids=ids, attributes={}, price=np.full(12, np.nan, np.float32))
    assert with_attributes(items, bare) is items
    assert with_attributes(None, bare) is None
