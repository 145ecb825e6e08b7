"""retrieval.past and retrieval.item_item: recency, neighbours in the graph, what half A chooses."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.config import Config, Retrieval
from tfrec_llm.data.incidence import ease_weights, training_matrix
from tfrec_llm.retrieval import item_item
from tfrec_llm.retrieval.candidates import CandidateSource
from tfrec_llm.retrieval.item_item import learn_neighbours, load_neighbours, train_item_item
from tfrec_llm.retrieval.past import Neighbours, Past, newest_worth
from tfrec_llm.types import History

NONE = np.zeros([1, 0], np.int32)


def test_older_events_count_less_and_repeats_once(as_history):
    worth = newest_worth(as_history([5, 6, 5], [7]), False, [tf.constant(2.0)]).numpy()[..., 0]
    np.testing.assert_allclose(worth, [[0, np.exp(-0.5), 1], [1, 0, 0]], atol=1e-6)


def test_a_basket_has_one_age():
    item = tf.constant([[5, 6, 7, 8]])
    time = tf.constant([[10, 10, 10, 20]], tf.int64)
    worth = newest_worth(History(item, tf.ones_like(item), time), True, [tf.constant(1.0)]).numpy()[..., 0]
    np.testing.assert_allclose(worth, [[np.exp(-1)] * 3 + [1]], atol=1e-6)


def test_neighbours_are_added_up(as_history):
    ids, weights = np.zeros([6, 2], np.int32), np.zeros([6, 2], np.float32)
    ids[2], weights[2] = [3, 4], [1, 2]
    ids[3], weights[3] = [4, 0], [3, 9]  # index 0 is nobody
    past = Past(6, False, False, 2)
    past.take(Neighbours(ids, weights, 1.0))
    scores, whole = past(as_history([2, 3], [5], []), tf.zeros(6))
    old = np.exp(-1)
    np.testing.assert_allclose(whole, [[0, 0, 0, 1, 2 + 3, 0], [0] * 6, [0] * 6], atol=1e-5)
    np.testing.assert_allclose(np.expm1(scores), [[0, 0, 0, old, 2 * old + 3, 0], [0] * 6, [0] * 6], atol=1e-5)


def test_without_neighbours_and_repeats_nothing_is_said(as_history):
    assert Past(6, False, False)(as_history([2]), tf.zeros(6)) == []


def test_what_is_held_is_said_apart_from_how_often(as_history):
    popularity = tf.constant([0.0, 0.0, -1.0, -2.0, -3.0, -4.0])
    once, recent, held, popular = Past(6, False, True)(as_history([3, 5, 3], []), popularity)
    np.testing.assert_allclose(np.expm1(once), [[0, 0, 0, 2, 0, 1], [0] * 6], atol=1e-6)
    assert recent[0, 3] > recent[0, 5] > 0
    np.testing.assert_allclose(held, [[0, 0, 0, 1, 0, 1], [0] * 6])
    np.testing.assert_allclose(popular, [[0, 0, 0, -2, 0, -4], [0] * 6])


@pytest.fixture(scope="module")
def ring(world):
    """Users who walk a ring: the neighbour after the newest item is the answer."""
    return world(users=200, items=20, events=8)


def test_the_ring_is_learnt_and_half_a_prefers_the_newest_items(ring):
    neighbours, (gain, *_), count = learn_neighbours(Config(), ring.dataset)
    assert count == 100
    assert gain > 0.8
    assert neighbours.decay <= 2
    assert neighbours.item_ids.shape == (22, 19)
    assert not neighbours.weights[:2].any()
    assert (neighbours.weights >= 0).all()


def test_scores_in_the_graph_equal_the_closed_form(ring, as_history):
    """With all neighbours kept, the graph's scores are log(1 + the positive part of EASE's), up to one factor."""
    settings = Config(retrieval=Retrieval(item_item_l2=(10.0,)))
    neighbours, *_ = learn_neighbours(settings, ring.dataset)
    source = CandidateSource.build({"text": np.zeros([22, 3])}, ring.dataset, None, neighbours)
    scores, _ = source.past(as_history([4]), tf.zeros(source.num_rows))
    whole = np.maximum(ease_weights(training_matrix(ring.dataset), 10.0), 0)[4]
    scores, whole = np.expm1(scores.numpy()[0, 2:]), whole[2:]
    np.testing.assert_allclose(scores / scores.max(), whole / whole.max(), atol=1e-4)


def test_only_the_strongest_neighbours_of_the_commonest_items(ring):
    settings = Config(retrieval=Retrieval(item_item_neighbours=3, item_item_max_items=6, item_item_tail=0))
    neighbours, *_ = learn_neighbours(settings, ring.dataset)
    assert neighbours.item_ids.shape == (22, 3)
    assert len(set(neighbours.item_ids[neighbours.weights > 0])) <= 6


def test_settings_chosen_on_the_commonest_items_serve_all(ring, monkeypatch):
    whole, *_ = learn_neighbours(Config(), ring.dataset)
    monkeypatch.setattr(item_item, "CHOSEN_ON", 6)
    neighbours, (gain, *_), _ = learn_neighbours(Config(), ring.dataset)
    assert gain > 0
    assert set(neighbours.item_ids[neighbours.weights > 0]) == set(whole.item_ids[whole.weights > 0])


def test_a_world_without_validation_users_takes_the_fixed_settings(ring):
    nobody = dataclasses.replace(ring.dataset.split, half_b=np.ones(200, bool))
    neighbours, (gain, *_), count = learn_neighbours(Config(), dataclasses.replace(ring.dataset, split=nobody))
    assert (gain, count) == (0, 0)
    assert neighbours.weights.any()


def test_what_is_written_is_read(ring, stage):
    made = stage("item_item")
    figures = train_item_item(Config(), ring.dataset, made)
    assert figures["retrieval.item_item.half_a.ndcg@10"]["value"] > 0.8
    again = load_neighbours(made.folder)
    expected, *_ = learn_neighbours(Config(), ring.dataset)
    np.testing.assert_array_equal(again.item_ids, expected.item_ids)
    assert again.decay == pytest.approx(expected.decay)
    assert load_neighbours(made.folder / "nothing") is None


def test_the_source_counts_in_candidates_features_and_files(ring, as_history, tmp_path):
    neighbours, *_ = learn_neighbours(Config(), ring.dataset)
    source = CandidateSource.build({"text": np.zeros([22, 3])}, ring.dataset, None, neighbours)
    assert source.source_names == ("text", "popularity", "item_item", "item_item_whole")
    source.weights.assign([[0, 0, 1, 0.25], [0, 0, 1, 0.25]])
    found = source.candidates({}, as_history([4]), NONE, 5)
    assert set(found.item_ids.numpy()[0, :2]) == {ring.ring[4], int(np.flatnonzero(ring.ring == 4)[0])}
    column = source.feature_names.index("item_item")
    assert found.features.numpy()[0, 0, column] > 1
    np.testing.assert_allclose(source.scores_of({}, as_history([4]), found.item_ids), found.scores, atol=1e-5)
    source.save(tmp_path)
    again = CandidateSource.load(tmp_path)
    np.testing.assert_allclose(again.scores({}, as_history([4])), source.scores({}, as_history([4])), atol=1e-6)


def test_a_source_of_before_there_were_neighbours_of_the_whole_history_is_read_as_it_was(ring, as_history, tmp_path):
    neighbours, *_ = learn_neighbours(Config(), ring.dataset)
    made = CandidateSource({"text": 3}, 22, False, False, neighbours.item_ids.shape[1], False)
    made.past.take(neighbours)
    made.save(tmp_path)
    shape = json.loads((tmp_path / "source.json").read_text())
    del shape["whole"]
    (tmp_path / "source.json").write_text(json.dumps(shape))
    again = CandidateSource.load(tmp_path)
    assert again.source_names == ("text", "popularity", "item_item")
    np.testing.assert_allclose(again.scores({}, as_history([4])), made.scores({}, as_history([4])), atol=1e-6)
