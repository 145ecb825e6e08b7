"""Item vectors: id part plus text part."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.layers import ItemTable
from tfrec_llm.training import load_weights, save_weights

TEXT = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)


def test_rows_of_padding_and_unknown_are_zero():
    layer = ItemTable(6, 3, TEXT)
    table = layer.table().numpy()
    assert table.shape == (6, 3)
    assert not table[:2].any()
    assert table[2:].any(axis=1).all()


def test_looking_up_equals_the_table():
    layer = ItemTable(6, 3, TEXT)
    indices = np.array([[2, 5, 0], [1, 3, 3]], np.int32)
    np.testing.assert_allclose(layer(indices), layer.table().numpy()[indices], atol=1e-6)


def test_a_vector_is_id_part_plus_projected_text():
    layer = ItemTable(6, 3, TEXT)
    layer.build()
    expected = layer.ids.numpy() + TEXT @ layer.projection.numpy()
    np.testing.assert_allclose(layer.table()[2:], expected[2:], atol=1e-6)


def test_id_dropout_leaves_the_text_part():
    layer = ItemTable(6, 3, TEXT, id_dropout=1.0)
    layer.build()
    np.testing.assert_allclose(layer.table(training=True)[2:], (TEXT @ layer.projection.numpy())[2:], atol=1e-6)
    np.testing.assert_allclose(layer.table()[2:], (layer.ids + TEXT @ layer.projection.numpy())[2:], atol=1e-6)


def test_without_text_there_is_nothing_to_drop_to():
    layer = ItemTable(6, 3, None, id_dropout=1.0)
    np.testing.assert_array_equal(layer.table(training=True), layer.table())


def test_an_item_whose_text_is_empty_keeps_its_id():
    text = TEXT.copy()
    text[3] = 0
    layer = ItemTable(len(text), 3, text, id_dropout=1.0)
    np.testing.assert_array_equal(layer.table(training=True)[3], layer.ids[3])
    np.testing.assert_array_equal(layer(tf.constant([3]), training=True)[0], layer.ids[3])
    assert np.abs(layer.table(training=True)[2] - layer.table()[2]).max() > 0


def test_text_of_another_catalogue_is_refused():
    with pytest.raises(ValueError, match=r"one text vector per row, 7, got 6"):
        ItemTable(7, 3, TEXT)


def test_config_round_trip():
    layer = ItemTable(6, 3, None, id_dropout=0.3, scale=0.2, name="wares")
    assert ItemTable.from_config(layer.get_config()).get_config() == layer.get_config()


def test_save_and_load(tmp_path):
    first, second = ItemTable(6, 3, TEXT), ItemTable(6, 3, np.zeros_like(TEXT))
    first.build(), second.build()
    save_weights(first, tmp_path / "table.npz")
    load_weights(second, tmp_path / "table.npz")
    np.testing.assert_array_equal(first.table(), second.table())


def test_learns_inside_a_model():
    layer = ItemTable(4, 2, None)
    optimizer = tf.keras.optimizers.SGD(0.5)
    for _ in range(200):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(layer(np.array([2, 3])) - [[1.0, 0.0], [0.0, 1.0]]))
        optimizer.minimize(loss, layer.trainable_variables, tape)
    np.testing.assert_allclose(layer.table()[2:], np.eye(2), atol=1e-3)
