"""retrieval.tail: of one item more the closed form itself, of many nearly so."""

import numpy as np
import pytest
from scipy import sparse

from tfrec_llm.config import Config, Retrieval
from tfrec_llm.data.incidence import ease_weights
from tfrec_llm.retrieval import tail
from tfrec_llm.retrieval.item_item import learn_neighbours
from tfrec_llm.retrieval.tail import Form, Strongest, add_tail

USERS, ITEMS, L2 = 400, 40, 20.0


@pytest.fixture(scope="module")
def owned():
    """Users with a taste each: the items near it, common ones first."""
    draw = np.random.default_rng(3)
    taste, place = draw.uniform(size=[USERS, 1]), draw.uniform(size=ITEMS)
    chance = 0.6 * np.exp(-((taste - place) ** 2) / 0.02) * np.linspace(1, 0.15, ITEMS)
    return sparse.csr_matrix((draw.uniform(size=[USERS, ITEMS]) < chance).astype(np.float32))


def found_of(owned, kept, rest, count):
    """[N, N] the neighbours' weights, after the tail."""
    whole = ease_weights(owned[:, kept], L2)
    found = Strongest(np.zeros([ITEMS, count], np.int32), np.zeros([ITEMS, count], np.float32))
    found.merge(kept, kept, whole)
    add_tail(found, owned, Form(kept, whole, L2), rest)
    dense = np.zeros([ITEMS, ITEMS], np.float32)
    np.add.at(dense, (np.arange(ITEMS)[:, None], found.item_ids), found.weights)
    return dense


def test_one_item_more_is_what_the_closed_form_says(owned):
    kept, rest = np.arange(ITEMS - 1), np.array([ITEMS - 1])
    exact = np.maximum(ease_weights(owned, L2), 0)
    dense = found_of(owned, kept, rest, ITEMS - 1)
    np.testing.assert_allclose(dense[-1], exact[-1], atol=1e-5)
    np.testing.assert_allclose(dense[:, -1], exact[:, -1], atol=1e-5)


def test_many_items_more_are_nearly_so(owned, monkeypatch):
    monkeypatch.setattr(tail, "CHUNK", 7)
    kept, rest = np.arange(ITEMS // 2), np.arange(ITEMS // 2, ITEMS)
    exact, dense = np.maximum(ease_weights(owned, L2), 0), found_of(owned, kept, rest, ITEMS - 1)
    for part in (np.ix_(kept, rest), np.ix_(rest, kept), np.ix_(rest, rest)):
        assert np.corrcoef(dense[part].ravel(), exact[part].ravel())[0, 1] > 0.8
    assert not dense.diagonal().any()


def test_items_of_the_same_users_say_no_more_of_each_other_than_the_closed_form_does(monkeypatch):
    same = sparse.csr_matrix(np.ones([50, 6], np.float32))
    monkeypatch.setattr("tests.retrieval.test_tail.ITEMS", 6)
    dense, exact = found_of(same, np.arange(3), np.arange(3, 6), 5), ease_weights(same, L2)
    np.testing.assert_allclose(dense[3:, 3:], exact[3:, 3:], atol=0.06)  # their common users alone would say .7


def test_products_of_whole_matrices_are_the_same(owned, monkeypatch):
    kept, rest, found = np.arange(ITEMS // 2), np.arange(ITEMS // 2, ITEMS), []
    for share in (0.0, 1.0):
        monkeypatch.setattr(tail, "DENSE", share)
        found.append(found_of(owned, kept, rest, ITEMS - 1))
    np.testing.assert_allclose(*found, atol=1e-6)


def test_chunks_change_nothing_and_the_strongest_are_kept(owned, monkeypatch):
    kept, rest = np.arange(0, ITEMS, 2), np.arange(1, ITEMS, 2)
    whole = found_of(owned, kept, rest, ITEMS - 1)
    monkeypatch.setattr(tail, "CHUNK", 3)
    few = found_of(owned, kept, rest, 4)
    assert ((few > 0).sum(axis=1) <= 4).all()
    np.testing.assert_allclose(np.sort(few, axis=1)[:, -4:], np.sort(whole, axis=1)[:, -4:], rtol=1e-4, atol=1e-7)


def test_an_item_that_nobody_has_gets_none(owned):
    alone = owned.tolil()
    alone[:, ITEMS - 1] = 0
    dense = found_of(alone.tocsr(), np.arange(5), np.arange(5, ITEMS), 6)
    assert not dense[-1].any()
    assert not dense[:, -1].any()


def test_every_item_of_a_large_catalogue_has_neighbours(world):
    ring = world(users=200, items=20, events=8)
    settings = Config(retrieval=Retrieval(item_item_max_items=6, item_item_neighbours=5))
    neighbours, (gain, *_), _ = learn_neighbours(settings, ring.dataset)
    assert (neighbours.weights[2:].max(axis=1) > 0).all()
    assert len(set(neighbours.item_ids[neighbours.weights > 0])) > 15
    assert gain > 0
