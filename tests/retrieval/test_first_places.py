"""retrieval.first_places: NDCG by hand, factors where something is to be gained, and none where it is chance."""

import numpy as np
import pytest
import tensorflow as tf

from tests.retrieval.test_blend import ROWS, made
from tfrec_llm.config import Config
from tfrec_llm.retrieval.blend import assign, fit_blend, flat, join_rows
from tfrec_llm.retrieval.first_places import Shortlists, climb, first_place_factors, ndcg, shortlists
from tfrec_llm.retrieval.moments import Moments


def drawn(count, seed=0, items=40):
    """Two sources: the first knows the answers, the second is noise twice as loud."""
    draw = np.random.default_rng(seed)
    right = np.zeros([count, items], bool)
    right[np.arange(count), draw.integers(items, size=count)] = True
    parts = draw.normal(size=[count, items, 2]).astype(np.float32) * [1.0, 2.0]
    parts[..., 0] += 2 * right
    return Shortlists(np.zeros([count, items], np.float32), parts.astype(np.float32), right, right.sum(1))


def test_ndcg_by_hand():
    fixed = np.array([[0.0, 0.0, -np.inf], [0.0, 0.0, 0.0]], np.float32)
    parts = np.array([[[3.0], [2.0], [9.0]], [[1.0], [2.0], [3.0]]], np.float32)
    right = np.array([[False, True, False], [True, True, False]])
    found = ndcg(Shortlists(fixed, parts, right, np.array([1, 2])), np.ones(1))
    second, third = 1 / np.log2(3), 1 / np.log2(4)
    np.testing.assert_allclose(found, [second, (second + third) / (1 + second)])


def test_climbing_believes_who_knows():
    found = drawn(300)
    factors = climb(found)
    assert factors[1] < 0.6 * factors[0]
    assert ndcg(found, factors).mean() > ndcg(found, np.ones(2)).mean() + 0.1


def test_a_shortlist_ranks_as_the_whole_catalogue(world, as_history):
    source, rows = made(world, as_history, answers=3)
    rows = join_rows([rows])
    theta = np.random.default_rng(1).normal(size=5 * len(source.source_names))
    assign(source, theta)
    found = shortlists(source, rows, np.arange(ROWS))
    whole = Moments(source, rows)(theta, np.arange(ROWS))
    assert ndcg(found, np.ones(len(source.source_names))).mean() == pytest.approx(whole.gain, abs=1e-5)


def test_weights_that_are_wrong_are_turned_and_right_ones_stay(world, as_history):
    source, rows = made(world, as_history, signal={"towers": 2.0, "behaviour": 2.0})
    rows, places = join_rows([rows]), np.arange(ROWS)
    by_length = np.zeros(source.by_length.shape)
    wrong = np.zeros(source.weights.shape)
    wrong[:, 0], wrong[:, 1], wrong[:, 2] = 0.3, 2.0, 2.0  # the text says nothing
    assign(source, flat(wrong, by_length))
    factors = first_place_factors(source, rows, places, np.random.default_rng(1))
    assert factors[2] < 0.6
    moments = Moments(source, rows)
    turned = moments(flat(wrong * factors, by_length), places).gain
    assert turned > moments(flat(wrong, by_length), places).gain + 0.02
    right = np.zeros(source.weights.shape)
    right[:, :2] = 2.0
    assign(source, flat(right, by_length))
    after = first_place_factors(source, rows, places, np.random.default_rng(1))
    gained = moments(flat(right * after, by_length), places).gain - moments(flat(right, by_length), places).gain
    assert 0 <= gained < 0.05


def test_few_rows_and_rows_without_answers_change_nothing(world, as_history):
    source, rows = made(world, as_history)
    rows, ones = join_rows([rows]), np.ones(len(source.source_names))
    draw = np.random.default_rng(1)
    np.testing.assert_array_equal(first_place_factors(source, rows, np.arange(30), draw), ones)
    np.testing.assert_array_equal(first_place_factors(source, rows, np.arange(0), draw), ones)
    empty = rows._replace(target=tf.zeros_like(rows.target).numpy())
    np.testing.assert_array_equal(first_place_factors(source, empty, np.arange(ROWS), draw), ones)


def test_a_fit_is_not_worse_for_it(world, as_history, stage):
    source, rows = made(world, as_history, signal={"towers": 1.0, "behaviour": 0.5})
    figures = fit_blend(source, [rows], Config(), stage("blend"))
    best = max(value["value"] for name, value in figures.items() if "_all" not in name)
    assert figures["retrieval.blend_all.ndcg@10"]["value"] >= best - 0.03
