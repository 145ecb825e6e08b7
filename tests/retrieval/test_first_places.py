"""retrieval.first_places: NDCG by hand, factors where something is to be gained, and none where it is chance."""

import numpy as np
import pytest
import tensorflow as tf

from tests.retrieval.test_blend import ROWS, made
from tfrec_llm.config import Config
from tfrec_llm.retrieval import blend, first_places
from tfrec_llm.retrieval.blend import assign, fit_blend, flat, join_rows
from tfrec_llm.retrieval.first_places import Shortlists, climb, first_place_factors, long_recall, ndcg, shortlists
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


def test_recall_of_a_long_list_by_hand(world, as_history, monkeypatch):
    monkeypatch.setattr(first_places, "LONG", 4)
    source, rows = made(world, as_history, answers=3)
    rows, places = join_rows([rows]), np.arange(50)
    rows.target[0] = [2, 0, 0]  # in its history: it can't be shown, so the row says nothing
    scores = source.scores(*tf.nest.map_structure(tf.constant, (rows.queries, rows.history))).numpy()
    scores = np.where(source.allowed(rows.history, rows.exclude), scores, -np.inf)
    top = np.argsort(-scores, axis=1, kind="stable")[:, :4]
    want = [np.isin(rows.target[row], top[row]).mean() for row in places[1:]]
    assert long_recall(source, rows, places) == pytest.approx(np.mean(want), abs=1e-5)


@pytest.mark.parametrize(("factor", "as_far"), [(0.0, 0.0), (3.0, 1.0)])
def test_it_is_turned_as_far_as_costs_no_recall(world, as_history, monkeypatch, factor, as_far):
    monkeypatch.setattr(first_places, "LONG", 5)
    source, rows = made(world, as_history, signal={"towers": 3.0})
    rows, places = join_rows([rows]), np.arange(ROWS)
    theta = flat(np.ones(source.weights.shape), np.zeros(source.by_length.shape))
    assign(source, theta)
    factors = np.ones(len(source.source_names))
    factors[source.source_names.index("towers")] = factor  # the one that knows, less or more
    monkeypatch.setattr(blend, "first_place_factors", lambda *_: factors)
    turned = blend._turned(source, rows, Moments(source, rows), theta, places, np.random.default_rng(1))
    kept = np.tile(1 + as_far * (factors - 1), 2)
    common = theta[: kept.size] * kept
    np.testing.assert_allclose(turned[: kept.size] / turned[0], common / common[0])
