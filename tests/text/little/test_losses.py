"""Contrastive losses on vectors whose losses are derived by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.text.little.losses import cosine_loss, likeness, simcse_loss, supervised_contrastive_loss

EAST, NORTH = [1.0, 0.0], [0.0, 1.0]


def test_likeness_of_one_and_of_several_labels():
    # {a}, {a}, {b}, {a, b}: one of one shared, none, one of two
    alike = likeness(tf.constant([[1, 0], [1, 0], [0, 1], [1, 1]])).numpy()
    np.testing.assert_allclose(alike[0], [1, 1, 0, 0.5])
    np.testing.assert_allclose(alike, alike.T)


def test_cosine_loss_is_zero_where_alike_rows_agree_and_others_are_square():
    alike = likeness(tf.constant([[1, 0], [1, 0], [0, 1]]))
    assert float(cosine_loss(tf.constant([EAST, EAST, NORTH]), alike)) == pytest.approx(0)
    # all on one place: alike pairs cost 0, the others (1 - 0)^2; each kind counts half
    assert float(cosine_loss(tf.constant([EAST, EAST, EAST]), alike)) == pytest.approx(0.5)


def test_supervised_contrastive_loss_by_hand():
    alike = likeness(tf.constant([[1, 0], [1, 0], [0, 1]]))
    # rows 0 and 1: log(e^1 + e^0) - 1 at temperature 1; row 2 has no row alike and does not count
    expected = math.log(math.e + 1) - 1
    assert float(supervised_contrastive_loss(tf.constant([EAST, EAST, NORTH]), alike, 1.0)) == pytest.approx(expected)
    alone = likeness(tf.eye(3))
    assert float(supervised_contrastive_loss(tf.constant([EAST, EAST, NORTH]), alone, 1.0)) == 0


def test_simcse_loss_by_hand():
    vectors = tf.constant([EAST, NORTH])
    assert float(simcse_loss(vectors, vectors, 0.5)) == pytest.approx(math.log(1 + math.exp(-2)))
    assert float(simcse_loss(vectors, vectors[::-1], 0.5)) == pytest.approx(math.log(1 + math.exp(2)))
