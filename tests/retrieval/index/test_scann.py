"""ScaNN behind the index's verbs, where it is installed; else how its absence is said."""

import importlib.util

import numpy as np
import pytest

from tfrec_llm.config import Component, ConfigError
from tfrec_llm.retrieval.index import (
    ExactIndex,
    ExactSettings,
    ScannIndex,
    ScannSettings,
    build_index,
    recall_of_exact,
    scann,
)

RNG = np.random.default_rng(0)
CENTRES = RNG.normal(size=[30, 16])
TABLE = (CENTRES[RNG.integers(30, size=3_002)] + 0.3 * RNG.normal(size=[3_002, 16])).astype(np.float32)
QUERIES = (CENTRES[RNG.integers(30, size=20)] + 0.3 * RNG.normal(size=[20, 16])).astype(np.float32)
installed = pytest.mark.skipif(importlib.util.find_spec("scann") is None, reason="scann is an optional extra")


@pytest.mark.skipif(importlib.util.find_spec("scann") is not None, reason="scann is here")
def test_without_the_package_one_sentence_says_how_to_get_it():
    with pytest.raises(ValueError, match=r"pip install --no-deps scann==1\.4\.2"):
        ScannIndex(ScannSettings(), TABLE)


@installed
def test_finds_most_of_what_the_exact_index_finds_and_never_an_excluded_item():
    exclude = RNG.integers(0, 3_010, [20, 4])
    shown = RNG.random(len(TABLE)) < 0.8
    found = ScannIndex(ScannSettings(leaves_searched=20), TABLE, shown).search(QUERIES, 30, exclude)
    exact = ExactIndex(ExactSettings(), TABLE, shown).search(QUERIES, 30, exclude)
    assert recall_of_exact(found, exact) > 0.9
    assert shown[found.item_ids].all()
    assert found.allowed.all()
    assert not (found.item_ids[:, :, None] == exclude[:, None]).any()
    assert (np.diff(found.scores, axis=1) <= 1e-5).all()


def exact_searcher(settings, vectors):
    def search(queries, k):
        products = queries @ vectors.T
        places = np.argsort(-products, axis=1, kind="stable")[:, :k]
        return places, np.take_along_axis(products, places, axis=1)

    return search


def test_one_long_list_of_exclusions_takes_no_room_for_all_queries(monkeypatch):
    """Once [queries, k + longest, longest] flags were made, 25 GB of them here."""
    monkeypatch.setattr(scann, "scann_searcher", exact_searcher)
    queries, exclude = RNG.normal(size=[4_000, 16]).astype(np.float32), np.zeros([4_000, 2_500], np.int64)
    exclude[::1_000] = RNG.permuted(np.tile(np.arange(2_500), (4, 1)), axis=1) + 1  # 1 is no item
    exclude[:, 7], exclude[5, 9] = RNG.integers(2, 3_002, 4_000), 3_005  # beyond the table
    found = ScannIndex(ScannSettings(), TABLE).search(queries, 10, exclude)
    exact = ExactIndex(ExactSettings(), TABLE).search(queries, 10, exclude)
    np.testing.assert_array_equal(found.item_ids, exact.item_ids)
    np.testing.assert_array_equal(found.allowed, exact.allowed)


@installed
def test_small_tables_are_scored_whole():
    found = ScannIndex(ScannSettings(), TABLE[:52]).search(QUERIES, 80, np.array([[2]] * 20))
    exact = ExactIndex(ExactSettings(), TABLE[:52]).search(QUERIES, 80, np.array([[2]] * 20))
    np.testing.assert_array_equal(found.item_ids, exact.item_ids)
    assert found.allowed.sum(axis=1).tolist() == [49] * 20


def test_indexes_are_chosen_by_name():
    index = build_index(Component("exact", {"dtype": "bfloat16"}), TABLE)
    assert index.search(QUERIES, 5).item_ids.shape == (20, 5)
    with pytest.raises(ConfigError, match=r"retrieval\.index: expected one of exact, scann, got 'faiss'"):
        build_index(Component("faiss"), TABLE)


def test_recall_counts_only_places_that_are_filled():
    exact = ExactIndex(ExactSettings(), TABLE).search(QUERIES[:2], 4)
    half = exact._replace(item_ids=np.where(np.arange(4) < 2, exact.item_ids, 1))
    assert recall_of_exact(exact, exact) == 1
    assert recall_of_exact(half, exact) == pytest.approx(0.5)
    none = exact._replace(allowed=exact.allowed & False)
    assert recall_of_exact(half, none) == 0
