"""What is said of a history without one event, from one pass over the whole: the same as of a copy that lacks it."""

import numpy as np
import pytest
import tensorflow as tf

from tests.behaviour.test_model import make
from tests.layers.test_history_encoder import lively
from tfrec_llm.layers.left_out import leave_out
from tfrec_llm.retrieval.candidates import CandidateSource
from tfrec_llm.retrieval.past import Neighbours, Past
from tfrec_llm.serving.reasons import copied, places_without, without_each
from tfrec_llm.types import History

ROWS, WIDTH, LAST = 11, 8, 6
LENGTHS = (8, 5, 6, 2, 1, 0)
POPULAR = tf.linspace(-3.0, 0.0, ROWS)


def some_history(seed=0):
    """Items that come again, waits of all sizes, some times unknown, one row's all."""
    rng = np.random.default_rng(seed)
    there = np.arange(WIDTH) < np.array(LENGTHS)[:, None]
    item = rng.integers(2, ROWS, there.shape)
    time = 10**9 + np.cumsum(2 ** rng.integers(0, 20, there.shape), axis=1)
    time[rng.random(time.shape) < 0.15] = 0
    time[2] = 0
    event = rng.integers(2, 4, there.shape)
    kinds = (tf.int32, tf.int32, tf.int64)
    return History(*(tf.constant(np.where(there, v, 0), k) for v, k in zip((item, event, time), kinds, strict=True)))


def meant(values):
    """[B, L or L + 1, ...] without the views that mean nothing, and without that of the whole."""
    values = np.asarray(values)[:, :LAST]
    return values[(np.arange(values.shape[1]) < np.array(LENGTHS)[: len(values), None])]


def by_copies(of_copies):
    """[B * L, ...] as [B, L, ...]."""
    values = np.asarray(of_copies)
    return values.reshape(len(LENGTHS), LAST, *values.shape[1:])


def assert_same(views, of_copies, of_whole):
    np.testing.assert_allclose(meant(views), meant(by_copies(of_copies)), atol=1e-5)
    np.testing.assert_allclose(np.asarray(views)[:, -1], of_whole, atol=1e-5)


def test_items_ages_and_places():
    left = leave_out(some_history(), LAST)
    copies, item = without_each(some_history(), LAST)
    np.testing.assert_array_equal(left.item, item)
    np.testing.assert_array_equal(left.kept[:, -1], some_history().item > 0)
    kept, age = meant(left.kept), meant(left.age)
    for there, old, copy in zip(kept, age, meant(by_copies(copies.item)), strict=True):
        assert there.sum() == (copy > 0).sum()
        np.testing.assert_array_equal(old[there], np.arange(there.sum())[::-1])


@pytest.mark.parametrize("last", [LAST, 1, 20])
def test_queries_of_the_behaviour_model(last):
    model, history = make(), some_history()
    model.body.start.assign(tf.random.stateless_normal(model.body.start.shape, (1, 2)))
    signals, views, _ = model.signals_without(history, leave_out(history, last))
    tf.nest.map_structure(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), signals, model.signals(history))
    copies, item = without_each(history, last)
    assert views.shape == (len(LENGTHS), last + 1, model.settings.dim + 1)
    copied, there = model.signals(copies).query.numpy().reshape(len(LENGTHS), last, -1), np.asarray(item) > 0
    np.testing.assert_allclose(views.numpy()[:, :-1][there], copied[there], atol=1e-5)
    np.testing.assert_array_equal(views[:, -1], signals.query)


def test_a_basket_domain_and_other_bodies_are_read_again():
    assert make().one_pass
    assert not make(basket=True).one_pass


def test_queries_of_the_towers():
    layer, history = lively(window=4), some_history()
    vectors = tf.constant(np.random.default_rng(1).normal(size=[ROWS, layer.dim]), tf.float32)
    copies, _ = without_each(history, LAST)
    views = layer.without_each(tf.gather(vectors, history.item), history, leave_out(history, LAST))

    def plain(events):
        counts = tf.reduce_sum(tf.cast(events.item > 0, tf.int32), axis=1)[:, None]
        return layer(tf.gather(vectors, events.item), events, counts)[:, 0]

    assert_same(views, plain(copies), plain(history))


def neighbours(rng):
    return Neighbours(rng.integers(0, ROWS, [ROWS, 3]).astype(np.int32), rng.random([ROWS, 3], np.float32), 2.0)


@pytest.mark.parametrize("basket", [False, True])
def test_scores_of_some_items_by_the_past(basket):
    past, history, ids = Past(ROWS, basket, True, 3), some_history(), tf.constant([[2, 5, 9, 0]] * len(LENGTHS))
    past.take(neighbours(np.random.default_rng(2)))
    for some, everything in zip(past.at(history, POPULAR, ids), past(history, POPULAR), strict=True):
        np.testing.assert_allclose(some, tf.gather(everything, ids, batch_dims=1), atol=1e-5)


@pytest.mark.parametrize("count", [0, 3])
def test_copies_take_over_the_links_of_their_history(count):
    past, history, ids = Past(ROWS, True, True, count), some_history(), tf.constant([[2, 5, 9, 4]] * len(LENGTHS))
    if count:
        past.take(neighbours(np.random.default_rng(2)))
    links, (copies, _) = past.links(history, ids), without_each(history, LAST)
    found = copied(links, places_without(history, LAST))
    ids = tf.repeat(ids, LAST, axis=0)
    there = copies.item.numpy() > 0
    np.testing.assert_array_equal(found.numpy()[there], past.links(copies, ids).numpy()[there])
    for taken, own in zip(past.at(copies, POPULAR, ids, found), past.at(copies, POPULAR, ids), strict=True):
        np.testing.assert_array_equal(taken, own)


def test_the_past_without_an_event():
    past, history, ids = Past(ROWS, False, True, 3), some_history(), tf.constant([[2, 5, 9, 4]] * len(LENGTHS))
    past.take(neighbours(np.random.default_rng(2)))
    copies, _ = without_each(history, LAST)
    views = past.without_each(history, POPULAR, leave_out(history, LAST), ids)
    of_copies = past.at(copies, POPULAR, tf.repeat(ids, LAST, axis=0))
    for view, of_copy, whole in zip(views, of_copies, past.at(history, POPULAR, ids), strict=True):
        assert_same(view, of_copy, whole)


@pytest.mark.parametrize("spoken", [False, True])
def test_blend_scores_without_an_event(spoken):
    rng, history = np.random.default_rng(3), some_history()
    source = CandidateSource({"behaviour": 4, "text": 5}, ROWS, False, True, 3)
    source.past.take(neighbours(rng))
    tables = {name: rng.normal(size=[ROWS, width]) for name, width in source.widths.items()}
    source.columns.take(tables, rng.normal(size=ROWS))
    for variable in (source.weights, source.by_length):
        variable.assign(rng.normal(size=variable.shape))
    query = tf.constant(rng.normal(size=[len(LENGTHS), LAST + 1, 4]), tf.float32)
    text = tf.constant(rng.normal(size=[len(LENGTHS), 5]), tf.float32)
    has_text = tf.constant(np.arange(len(LENGTHS)) % 2 < spoken)
    ids = tf.constant(rng.integers(2, ROWS, [len(LENGTHS), 4]), tf.int32)

    def asked(queries, times):
        queries = tf.reshape(queries, [-1, 4])
        return {
            "behaviour": (queries, tf.ones(len(queries), tf.bool)),
            "text": (tf.repeat(text, times, axis=0), tf.repeat(has_text, times, axis=0)),
        }

    copies, _ = without_each(history, LAST)
    views = source.scores_without(asked(query, LAST + 1), history, leave_out(history, LAST), ids)
    of_copies = source.scores_of(asked(query[:, :-1], LAST), copies, tf.repeat(ids, LAST, axis=0))
    assert_same(views, of_copies, source.scores_of(asked(query[:, -1], 1), history, ids))
