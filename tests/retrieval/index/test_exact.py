"""The exact index against sorting everything: exclusions, ties, blocks, files, types, bad questions."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.layers.top_k import LOWEST
from tfrec_llm.retrieval.index import ExactIndex, ExactSettings, exact, recall_of_exact

RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=[1_002, 16]).astype(np.float32)
QUERIES = RNG.normal(size=[37, 16]).astype(np.float32)


def sorted_answers(table, queries, k, exclude=None, shown=None):
    """[B, K] ids by sorting, ties by id."""
    scores = queries @ table.T
    scores[:, :2] = -np.inf
    if shown is not None:
        scores[:, ~shown] = -np.inf
    for row, ids in enumerate(exclude if exclude is not None else []):
        scores[row, [i for i in ids if 2 <= i < len(table)]] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.where(np.take_along_axis(scores, order, 1) > -np.inf, order, 0)


@pytest.fixture
def eager():
    """Without graphs, where every example has shapes of its own."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize(
    ("form", "block", "held"),
    [
        ({}, 64, 1_200),
        ({}, 300, 5_000),
        ({}, 5_000, 10**6),
        ({}, 300, 10**6),
        ({"resident": False}, 300, 5_000),
        ({"xla": True}, 300, 5_000),
        ({"xla": True}, 300, 10**6),
    ],
)
def test_equals_sorting_in_one_block_or_many(form, block, held, monkeypatch):
    monkeypatch.setattr(exact, "SCORES", held)
    exclude = RNG.integers(-3, 1_100, [len(QUERIES), 5])
    shown = RNG.random(len(TABLE)) < 0.7
    index = ExactIndex(ExactSettings(block_items=block, **form), TABLE, shown)
    found = index.search(QUERIES, 70, exclude)
    np.testing.assert_array_equal(found.item_ids, sorted_answers(TABLE, QUERIES, 70, exclude, shown))
    np.testing.assert_allclose(
        found.scores, np.einsum("bd,bkd->bk", QUERIES, TABLE[found.item_ids]), rtol=1e-4, atol=1e-4
    )
    assert found.allowed.all()


@pytest.mark.usefixtures("eager")
@settings(max_examples=25, deadline=None)
@given(
    values=st.lists(st.integers(-3, 3), min_size=1, max_size=200),
    exclude=st.lists(st.integers(-2, 210), max_size=6),
    k=st.integers(1, 30),
    block=st.sampled_from([32, 64, 1_000]),
)
def test_ties_go_to_the_lower_index_and_k_places_come_back(values, exclude, k, block):
    table = np.array([[9], [9], *([v] for v in values)], np.float32)
    found = ExactIndex(ExactSettings(block_items=block), table).search(np.ones([1, 1]), k, np.array([exclude], int))
    want = sorted_answers(table, np.ones([1, 1], np.float32), min(k, len(values)), [exclude])
    assert found.item_ids.tolist() == want.tolist()
    assert found.allowed.tolist() == (want > 0).tolist()


def test_a_row_asked_alone_gets_the_same_items():
    index = ExactIndex(ExactSettings(block_items=256), TABLE)
    together = index.search(QUERIES, 12)
    for row in (0, 17, 36):
        np.testing.assert_array_equal(index.search(QUERIES[row : row + 1], 12).item_ids[0], together.item_ids[row])


def test_a_table_on_disk_is_read_block_by_block(tmp_path):
    kept = np.memmap(tmp_path / "table", np.float32, "w+", shape=TABLE.shape)
    kept[:] = TABLE
    kept.flush()
    opened = np.memmap(tmp_path / "table", np.float32, "r", shape=TABLE.shape)
    found = ExactIndex(ExactSettings(resident=False, block_items=100), opened).search(QUERIES, 20)
    np.testing.assert_array_equal(found.item_ids, sorted_answers(TABLE, QUERIES, 20))


def test_bfloat16_is_exact_on_the_rounded_vectors():
    rounded = ExactIndex(ExactSettings(dtype="bfloat16"), TABLE).search(QUERIES, 20)
    vectors = tf.cast(tf.cast(TABLE, tf.bfloat16), tf.float32).numpy()
    np.testing.assert_array_equal(rounded.item_ids, sorted_answers(vectors, QUERIES, 20))
    assert recall_of_exact(rounded, ExactIndex(ExactSettings(), TABLE).search(QUERIES, 20)) > 0.9


def test_more_asked_than_there_are():
    found = ExactIndex(ExactSettings(), TABLE[:7]).search(QUERIES, 50)
    assert found.item_ids.shape == (37, 5)
    assert np.sort(found.item_ids, axis=1).tolist() == [[2, 3, 4, 5, 6]] * 37


def test_every_item_excluded():
    found = ExactIndex(ExactSettings(), TABLE[:4]).search(QUERIES[:2], 3, np.array([[2, 3], [3, 3]]))
    assert found.item_ids.tolist() == [[0, 0], [2, 0]]
    assert found.allowed.tolist() == [[False, False], [True, False]]
    assert found.scores[0].tolist() == [np.float32(LOWEST)] * 2


def test_no_item_is_shown():
    found = ExactIndex(ExactSettings(), TABLE[:9], np.zeros(9, bool)).search(QUERIES[:1], 3)
    assert found.item_ids.tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("k", [0, -4])
def test_k_must_be_positive(k):
    with pytest.raises(ValueError, match=f"k of at least 1, got {k}"):
        ExactIndex(ExactSettings(), TABLE).search(QUERIES, k)


def test_questions_that_do_not_fit_are_refused():
    index = ExactIndex(ExactSettings(), TABLE)
    with pytest.raises(ValueError, match=r"finite queries \[B, 16\], got \[37, 15\]"):
        index.search(QUERIES[:, :15], 3)
    with pytest.raises(ValueError, match="NaN"):
        index.search(np.full([1, 16], np.nan), 3)
    with pytest.raises(ValueError, match=r"exclude \[37, X\], got \[1, 2\]"):
        index.search(QUERIES, 3, np.zeros([1, 2], int))
    with pytest.raises(ValueError, match=r"table \[N\+2, D\] with an item or more, got \[2, 16\]"):
        ExactIndex(ExactSettings(), TABLE[:2])
    with pytest.raises(ValueError, match=r"shown \[1002\]"):
        ExactIndex(ExactSettings(), TABLE, np.ones(5, bool))
