"""Items that came after the training, in the candidate source: a copy of a trained item gets its columns."""

import dataclasses

import numpy as np
import pytest

from tfrec_llm.data.additions import part
from tfrec_llm.retrieval import CandidateSource, load_with, source_rows
from tfrec_llm.retrieval.past import Neighbours
from tfrec_llm.types import FIRST_ITEM, Catalogue


@pytest.fixture
def dataset(world):
    made = world(noise=0.5).dataset
    price = np.exp(np.random.default_rng(2).normal(size=len(made.catalogue.item_ids))).astype(np.float32)
    return dataclasses.replace(made, catalogue=dataclasses.replace(made.catalogue, price=price))


@pytest.fixture
def tables(dataset):
    rows, draw = len(dataset.catalogue.item_ids), np.random.default_rng(0)
    made = {name: draw.normal(size=(rows, width)) for name, width in (("behaviour", 4), ("towers", 3), ("text", 5))}
    for table in made.values():
        table[:FIRST_ITEM] = 0
    return {name: table.astype(np.float32) for name, table in made.items()}


def joined(first, second):
    columns = ("item_ids", "titles", "texts", "price", "available")
    return Catalogue(
        **{name: np.concatenate([getattr(first, name), getattr(second, name)[FIRST_ITEM:]]) for name in columns},
        attributes={n: (*v, *second.attributes[n][FIRST_ITEM:]) for n, v in first.attributes.items()},
    )


def test_copies_of_trained_items_get_their_columns(dataset, tables):
    axes = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 2)))[0].T.astype(np.float32)
    source = CandidateSource.build(tables, dataset, axes)
    copied = [3, 2, 5]
    larger = {name: np.concatenate([table, table[copied]]) for name, table in tables.items()}
    rows = source_rows(source, larger, dataset, part(dataset.catalogue, copied))
    held = {name: table.numpy() for name, table in source.columns.tables()}
    np.testing.assert_allclose(rows["columns/spoken"], held["text"][copied], atol=1e-6)
    both = np.column_stack([held["behaviour"], held["towers"]])
    np.testing.assert_allclose(rows["columns/silent"][:, :-1], both[copied], atol=1e-6)
    facts = source.facts.numpy()[copied]
    np.testing.assert_allclose(rows["facts"][:, 1], facts[:, 1], atol=1e-5)  # price
    np.testing.assert_allclose(rows["facts"][:, 2], 0)  # worth is unknown
    np.testing.assert_allclose(rows["facts"][:, 3:], facts[:, 3:], atol=1e-4)
    popular = held["popularity"][FIRST_ITEM:]
    assert popular.min() <= rows["columns/silent"][:, -1].min()
    assert rows["columns/silent"][:, -1].max() <= popular.max()


def test_a_source_grows_and_scores_known_items_as_before(dataset, tables, as_history, tmp_path):
    source = CandidateSource.build(tables, dataset)
    source.save(tmp_path)
    copied = [3, 4]
    later = part(dataset.catalogue, copied)
    larger = {name: np.concatenate([table, table[copied]]) for name, table in tables.items()}
    catalogue = joined(dataset.catalogue, dataclasses.replace(later, available=np.array([False, False, True, False])))
    grown = load_with(tmp_path, source_rows(source, larger, dataset, later), catalogue, dataset.domain)
    first, history = source.num_rows, as_history([2, 3])
    assert grown.num_rows == first + 2
    assert grown.shown.numpy()[first:].tolist() == [True, False]
    queries = {"behaviour": (np.ones((1, 4), np.float32), np.array([True]))}
    before, after = (one.scores(queries, history).numpy()[0] for one in (source, grown))
    np.testing.assert_allclose(after[:first], before, atol=1e-6)
    found = grown.candidates(queries, history, np.zeros((1, 0), np.int32), first)
    assert first in found.item_ids.numpy()[0]
    assert first + 1 not in found.item_ids.numpy()[0]


def test_a_source_with_neighbours_grows_too(dataset, tables, as_history, tmp_path):
    count = len(dataset.catalogue.item_ids)
    neighbours = Neighbours(np.full((count, 7), 3, np.int32), np.ones((count, 7), np.float32), 2.0)
    source = CandidateSource.build(tables, dataset, None, neighbours)
    source.save(tmp_path)
    larger = {name: np.concatenate([table, table[[2]]]) for name, table in tables.items()}
    rows = source_rows(source, larger, dataset, part(dataset.catalogue, [2]))
    assert rows["past/item_ids"].shape == rows["past/strengths"].shape == (1, 7)
    catalogue = joined(dataset.catalogue, part(dataset.catalogue, [2]))
    grown, history = load_with(tmp_path, rows, catalogue, dataset.domain), as_history([5, count])
    scores, _ = grown.past(history, grown.columns.popularity())
    assert scores.numpy()[0, 3] > 0
    assert scores.numpy()[0, count] == 0
