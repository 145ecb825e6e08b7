"""Leave-one-out reasons, against lists worked out by hand."""

import numpy as np
import tensorflow as tf

from tfrec_llm.serving.reasons import strongest, without_each
from tfrec_llm.types import History


def history(*rows):
    item = np.array(rows, np.int32)
    return History(tf.constant(item), tf.constant(item * 10), tf.constant(item.astype(np.int64) * 100))


def test_each_copy_lacks_one_item_newest_first():
    copies, left_out = without_each(history([5, 6, 7, 0], [8, 0, 0, 0]), last=2)
    assert left_out.numpy().tolist() == [[7, 6], [8, 0]]
    assert copies.item.numpy().tolist() == [[5, 6, 0, 0], [5, 7, 0, 0], [0, 0, 0, 0], [8, 0, 0, 0]]
    assert copies.event.numpy().tolist() == [[50, 60, 0, 0], [50, 70, 0, 0], [0, 0, 0, 0], [80, 0, 0, 0]]
    assert copies.time.numpy()[1].tolist() == [500, 700, 0, 0]


def test_a_full_history_loses_its_last_column():
    copies, left_out = without_each(history([5, 6, 7]), last=5)
    assert left_out.numpy().tolist() == [[7, 6, 5, 0, 0]]
    assert copies.item.numpy()[0].tolist() == [5, 6, 0]
    assert copies.item.numpy()[4].tolist() == [5, 6, 7]


def test_an_empty_history_gives_no_reasons():
    copies, left_out = without_each(history([0, 0]), last=2)
    assert not left_out.numpy().any()
    assert not copies.item.numpy().any()


def test_strongest_orders_by_drop_and_leaves_out_what_does_not_lower_the_score():
    drops = tf.constant([[[0.1, -1.0], [0.5, 0.0], [0.3, 2.0], [-0.2, 1.0]]])  # [1, L=4, n=2]
    reasons = strongest(drops, tf.constant([[11, 12, 13, 14]]))
    assert reasons.numpy().tolist() == [[[12, 13, 11], [13, 14, 0]]]


def test_strongest_ignores_places_where_nothing_was_left_out():
    reasons = strongest(tf.constant([[[1.0], [5.0]]]), tf.constant([[11, 0]]))
    assert reasons.numpy().tolist() == [[[11, 0, 0]]]
