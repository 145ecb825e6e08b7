"""layers.request_time and the waits it reads: at first nothing changes, then the wait alone can decide what is next."""

import numpy as np
import pytest
import tensorflow as tf

from tests.behaviour.test_model import make
from tests.behaviour.worlds import dataset_of
from tests.layers.test_history_encoder import lively
from tests.retrieval.test_two_towers import one_batch, towers
from tests.serving.test_left_out import LAST, LENGTHS, ROWS, assert_same, some_history
from tfrec_llm.layers import steps
from tfrec_llm.layers.left_out import leave_out
from tfrec_llm.layers.noise import Noise
from tfrec_llm.layers.request_time import RequestTime
from tfrec_llm.serving.reasons import without_each
from tfrec_llm.types import History

SOON, LATER = 60, 40 * 86_400
NEAR, FAR = 2, 3  # items: what comes at once and what comes after a long wait, whatever was before


def moment(history):
    """[B] some time after every history."""
    return tf.reduce_max(history.time, axis=1) + tf.constant(3 ** np.arange(1, 1 + len(LENGTHS)), tf.int64)


def shaken(layer):
    for number, table in enumerate((layer.factor, layer.shift, layer.together)):
        table.assign(tf.random.stateless_normal(table.shape, (5, number)))
    return layer


def test_it_begins_as_the_identity_and_then_each_bucket_says_its_own():
    layer, states = RequestTime(), tf.constant(np.arange(6.0).reshape(2, 3), tf.float32)
    np.testing.assert_array_equal(layer(states, tf.constant([0, 5])), states)
    layer.factor.assign(tf.tensor_scatter_nd_update(layer.factor, [[5]], [[1.0, 2.0, 3.0]]))
    layer.shift.assign(tf.tensor_scatter_nd_update(layer.shift, [[0]], [[7.0, 7.0, 7.0]]))
    np.testing.assert_allclose(layer(states, tf.constant([0, 5])), [[7, 8, 9], [6, 12, 20]])


def test_longer_waits_than_training_knew_count_as_the_longest_it_knew():
    layer, states = RequestTime(7), tf.constant(np.arange(9.0).reshape(3, 3), tf.float32)
    layer.build(states.shape)
    got = shaken(layer)(tf.repeat(states[:1], 3, axis=0), tf.constant([7, 8, steps.GAP_BUCKETS - 1]))
    np.testing.assert_array_equal(got, np.repeat(got[:1], 3, axis=0))
    assert (got[0].numpy() != layer(states[:1], tf.constant([6]))[0].numpy()).any()


def test_the_longest_wait_is_one_that_enough_waited():
    minute, month, year = 60, 30 * 86_400, 365 * 86_400
    bucket = {seconds: int(steps.bucket(tf.constant(seconds, tf.int64))) for seconds in (minute, month, year)}
    waits = np.r_[np.full(50_000, minute), np.full(150, month), np.full(100, year), np.full(9, -1)]
    assert steps.longest_wait(waits) == bucket[month]  # 250 waited as long, 100 longer
    assert steps.longest_wait(np.r_[waits, np.full(100, year)]) == bucket[year]
    assert steps.longest_wait(np.array([minute] * 99 + [year])) == bucket[year]  # of few a hundredth is enough
    assert steps.longest_wait(np.array([-1, -1])) == steps.longest_wait(np.array([], np.int64)) == 0


def test_waits_before_steps_of_events_and_of_baskets():
    item = tf.constant([[4, 5, 6, 7, 0], [4, 0, 0, 0, 0]])
    history = History(item, item, tf.constant([[100, 100, 103, 103, 0], [100, 0, 0, 0, 0]], tf.int64))
    by_event = steps.waits_by_step(history, steps.step_index(history, False), 5)
    np.testing.assert_array_equal(by_event, [[0, 1, 3, 1, 0], [0, 0, 0, 0, 0]])
    by_basket = steps.waits_by_step(history, steps.step_index(history, True), 3)
    np.testing.assert_array_equal(by_basket, [[0, 3, 0], [0, 0, 0]])


@pytest.mark.parametrize("asked", [None, [0, 0, 0]])
def test_a_request_without_a_time_has_no_wait(asked):
    item = tf.constant([[4, 5], [4, 0], [0, 0]])
    history = History(item, item, tf.constant([[100, 103], [100, 0], [0, 0]], tf.int64))
    asked = None if asked is None else tf.constant(asked, tf.int64)
    np.testing.assert_array_equal(steps.waits_of(history, asked), [0, 0, 0])
    at = tf.constant([106, 99, 50], tf.int64)  # a clock that runs behind counts as no wait, no history as unknown
    np.testing.assert_array_equal(steps.waits_of(history, at), [3, 1, 0])


def test_views_of_a_history_wait_as_copies_of_it_do():
    history = some_history()
    time = moment(history)
    views = leave_out(history, LAST, time).request
    copies, _ = without_each(history, LAST)
    of_copies = steps.waits_of(copies, tf.repeat(time, LAST))
    assert_same(views, of_copies, steps.waits_of(history, time))


@pytest.mark.parametrize("last", [LAST, 1, 20])
def test_queries_of_the_behaviour_model_without_an_event(last):
    model, history = make(), some_history()
    shaken(model.request)
    time = moment(history)
    signals, views, _ = model.signals_without(history, leave_out(history, last, time))
    tf.nest.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), signals, model.signals(history, time)
    )
    assert np.abs(signals.query - model.signals(history).query).max() > 0.1
    np.testing.assert_allclose(signals.state, model.signals(history).state, atol=1e-5)
    np.testing.assert_allclose(signals.time_gap, model.signals(history).time_gap, atol=1e-5)
    copies, item = without_each(history, last)
    copied = model.signals(copies, tf.repeat(time, last)).query.numpy().reshape(len(LENGTHS), last, -1)
    there = np.asarray(item) > 0
    np.testing.assert_allclose(views.numpy()[:, :-1][there], copied[there], atol=1e-5)
    np.testing.assert_array_equal(views[:, -1], signals.query)


def test_queries_of_the_towers_without_an_event():
    layer, history = lively(window=4), some_history()
    shaken(layer._request)
    vectors = tf.constant(np.random.default_rng(1).normal(size=[ROWS, layer.dim]), tf.float32)
    time = moment(history)
    views = layer.without_each(tf.gather(vectors, history.item), history, leave_out(history, LAST, time))

    def plain(events, asked):
        counts = tf.reduce_sum(tf.cast(events.item > 0, tf.int32), axis=1)[:, None]
        waits = steps.waits_of(events, asked)[:, None]
        return layer(tf.gather(vectors, events.item), events, counts, waits)[:, 0]

    assert_same(views, plain(without_each(history, LAST)[0], tf.repeat(time, LAST)), plain(history, time))


def waiting_world(users=60, length=20):
    """What comes next is decided by the wait before it: NEAR after a minute, FAR after forty days."""
    far = np.random.default_rng(0).random((users, length)) < 0.5
    times = 10**9 + np.cumsum(np.where(far, LATER, SOON), axis=1)
    return dataset_of(np.where(far, FAR, NEAR), 9, times=times)


def best(query, table):
    """[2] the item that fits best a minute and forty days after one event."""
    item = tf.constant([[NEAR, FAR, NEAR]] * 2)
    history = History(item, item, tf.constant([[10**9, 10**9 + SOON, 10**9 + LATER]] * 2, tf.int64))
    scores = tf.matmul(query(history, history.time[:, -1] + [SOON, LATER]), table, transpose_b=True)
    return tf.argmax(scores[:, 2:], axis=1) + 2


def test_the_behaviour_model_learns_what_a_wait_means():
    model, dataset = make(), waiting_world()
    log, train = dataset.interactions, dataset.split.train
    columns = [np.where(train, c, 0).reshape(60, 20) for c in (log.item, log.event, log.time)]
    history = History(*map(tf.constant, columns))
    optimizer = tf.keras.optimizers.Adam(0.05)
    for step in range(40):
        with tf.GradientTape() as tape:
            loss = model.loss_of(history, Noise(1, tf.constant(step)))["loss"]
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
        )
    np.testing.assert_array_equal(best(lambda *a: model.signals(*a).query, model.item_table()), [NEAR, FAR])


def test_the_towers_learn_what_a_wait_means():
    dataset = waiting_world()
    model = towers(dataset)
    model.compile(tf.keras.optimizers.Adam(0.05))
    batch = one_batch(dataset, targets=1)  # of two answers in a window neither is wrong
    for _ in range(60):
        model.train_step(batch)
    np.testing.assert_array_equal(best(model.query, model.item_table()), [NEAR, FAR])
