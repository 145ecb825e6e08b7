import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.text.encoders.quantised import Quantised, QuantisedTable, dequantise, quantise


def test_codes_and_scales_by_hand():
    row = np.zeros((1, 64), np.float32)
    row[0, 0], row[0, 1], row[0, 32] = 127.0, -64.0, 2.0  # first block: scale 1; second: scale 2 / 127
    table = quantise(row)
    assert table.codes[0, :2].tolist() == [127, -64]
    assert table.codes[0, 32] == 127
    assert table.scales[0, 0] == 1.0
    np.testing.assert_allclose(dequantise(table), row, rtol=1e-3)


def test_error_is_at_most_half_a_step_and_the_scales_rounding():
    values = np.random.default_rng(0).normal(0, 0.05, (50, 96)).astype(np.float32)
    table = quantise(values)
    step = np.repeat(np.abs(values.reshape(50, 3, 32)).max(-1) / 127, 32, 1)
    assert (np.abs(dequantise(table) - values) <= step * 0.6 + 1e-7).all()


def test_zero_block_stays_zero():
    assert not dequantise(quantise(np.zeros((2, 32), np.float32))).any()


def test_lookup_equals_the_whole_table():
    draw = np.random.default_rng(1)
    table = Quantised(draw.integers(-8, 8, (10, 64)).astype(np.int8), draw.uniform(0.01, 1, (10, 2)).astype(np.float16))
    ids = np.array([[3, 3, 0], [9, 1, 2]], np.int32)
    np.testing.assert_array_equal(QuantisedTable(table)(tf.constant(ids)), dequantise(table)[ids])


@pytest.mark.parametrize(("width", "blocks"), [(64, 2), (312, 39), (48, 3), (100, 1), (7, 1)])
def test_any_width(width, blocks):
    values = np.random.default_rng(2).normal(0, 0.05, (20, width)).astype(np.float32)
    table = quantise(values)
    assert table.scales.shape == (20, blocks)
    assert np.abs(dequantise(table) - values).max() <= np.abs(values).max() / 127
    np.testing.assert_array_equal(QuantisedTable(table)(tf.constant([[3, 0]])), dequantise(table)[[[3, 0]]])
