"""Steps and gaps by hand."""

import numpy as np
import tensorflow as tf

from tfrec_llm.layers import steps
from tfrec_llm.types import History


def history(item, time):
    item = np.array(item, np.int32)
    return History(tf.constant(item), tf.constant(2 * (item > 0), tf.int32), tf.constant(time, tf.int64))


BASKETS = history([[5, 6, 7, 8, 0], [5, 6, 0, 0, 0], [0] * 5], [[10, 10, 20, 20, 0], [0, 0, 0, 0, 0], [0] * 5])


def test_every_event_is_a_step_of_its_own():
    index = steps.step_index(BASKETS, basket=False)
    assert index.numpy().tolist() == [[0, 1, 2, 3, 4]] * 3
    assert steps.step_count(BASKETS, index).numpy().tolist() == [4, 2, 0]


def test_equal_known_times_share_a_step():
    index = steps.step_index(BASKETS, basket=True)
    assert index[0, :4].numpy().tolist() == [0, 0, 1, 1]
    assert index[1, :2].numpy().tolist() == [0, 1]  # time 0 is unknown and never the same
    assert steps.step_count(BASKETS, index).numpy().tolist() == [2, 2, 0]


def test_mean_by_step():
    values = tf.constant([[[1.0], [3.0], [10.0], [20.0], [99.0]], [[4.0], [6.0], [99.0], [99.0], [99.0]], [[7.0]] * 5])
    mean = steps.mean_by_step(values, BASKETS, steps.step_index(BASKETS, basket=True), 3)
    assert mean[..., 0].numpy().tolist() == [[2, 15, 0], [4, 6, 0], [0, 0, 0]]


def test_gap_buckets_by_doubling():
    times = [[100, 100, 101, 104, 0, 200, 200 + 2**40]]
    got = steps.gap_buckets(history([[2] * 7], times)).numpy().tolist()
    # first event: no event before; same second: 1; 1 s: log2(2) = 1; 3 s: log2(4) = 2; unknown before and after a 0
    assert got == [[0, 1, 2, 3, 0, 0, steps.GAP_BUCKETS - 1]]


def test_time_going_backwards_counts_as_the_same_second():
    assert steps.gap_buckets(history([[2, 2]], [[100, 90]])).numpy().tolist() == [[0, 1]]


def test_log_gaps():
    got = steps.log_gaps(history([[2, 2, 2]], [[100, 107, 0]])).numpy()
    np.testing.assert_allclose(got, [[0, 3, 0]], atol=1e-6)
