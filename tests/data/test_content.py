"""Content of items as numbers."""

import numpy as np

from tfrec_llm.data.content import LEAST, ContentColumns, content_features
from tfrec_llm.types import Catalogue


def catalogue(genres, price):
    rows = len(genres)
    names = np.array([str(i) for i in range(rows)])
    return Catalogue(names, names, names, {"genre": tuple(genres)}, np.array(price, np.float32), np.ones(rows, bool))


def test_shared_values_text_and_price_by_hand():
    genres = [(), (), *[("a", "b")] * LEAST, *[("a",)] * LEAST, ("rare",), ()]
    price = [np.nan, np.nan, *[1.0] * LEAST, *[np.e] * LEAST, np.nan, 0.0]
    text = np.random.default_rng(0).normal(size=(len(genres), 3)).astype(np.float32)
    found = content_features(catalogue(genres, price), text)
    assert found.shape == (len(genres), 3 + 2 + 1)  # "rare" is not shared by enough items
    assert not found[:2].any()
    spread = [found[2:, part].var(axis=0).sum() for part in (slice(0, 3), slice(3, 5), slice(5, 6))]
    np.testing.assert_allclose(spread, 1, rtol=1e-4)
    a, b = found[2, 3:5]
    np.testing.assert_allclose(found[:, 3], a * np.array(["a" in g for g in genres]), rtol=1e-6)
    np.testing.assert_allclose(found[:, 4], b * np.array(["b" in g for g in genres]), rtol=1e-6)
    np.testing.assert_allclose(found[2, 5], -found[2 + LEAST, 5], rtol=1e-5)
    assert found[-1, 5] == found[-2, 5] == 0


def test_nothing_known():
    assert content_features(catalogue([()] * 4, [np.nan] * 4), None).shape == (4, 0)


def test_items_that_come_later_are_told_in_the_columns_of_the_first():
    genres = [(), (), *[("a", "b")] * LEAST, *[("a",)] * LEAST]
    first = catalogue(genres, [np.nan, np.nan, *[1.0] * LEAST, *[np.e] * LEAST])
    text = np.random.default_rng(0).normal(size=(len(genres), 3)).astype(np.float32)
    columns = ContentColumns.of(first, text)
    later = catalogue([(), (), ("b", "new"), ("a",)], [np.nan, np.nan, np.e, np.nan])
    found = columns.features(later, text[[0, 1, 4, 5]])
    whole = content_features(first, text)
    np.testing.assert_array_equal(found[2:, :3], whole[4:6, :3])
    np.testing.assert_allclose(found[2, 3:], [0, whole[2, 4], whole[-1, 5]], rtol=1e-6)  # "new" has no column
    np.testing.assert_allclose(found[3, 3:], [whole[2, 3], 0, 0], rtol=1e-6)
