"""An LSTM's last states in one pass: as the layer reaches them, history by history."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.layers import LSTM
from tfrec_llm.layers.lstm_left_out import last_states

H, I = 4, 3  # noqa: E741
LENGTH = 14
COUNTS = (14, 13, 6, 2, 1, 0)


def made():
    """A built layer whose start is not zero, inputs [6, 14, I] and changed inputs [6, 14, I]."""
    layer, draw = LSTM(H), np.random.default_rng(0)
    layer.build((None, None, I))
    layer.start.assign(draw.normal(size=[2, H]) * 2)
    inputs, after = (tf.constant(draw.normal(size=[len(COUNTS), LENGTH, I]), tf.float32) for _ in range(2))
    return layer, inputs, after


@pytest.mark.parametrize("last", [1, 3, LENGTH, LENGTH + 6])
def test_states_are_those_of_the_layer(last):
    layer, inputs, after = made()
    after = tf.pad(after, [[0, 0], [0, 6], [0, 0]])[:, :last]
    whole, without, _ = last_states(layer, inputs, tf.constant(COUNTS), after)
    assert without.shape == (len(COUNTS), last, H)
    for row, count in enumerate(COUNTS):
        np.testing.assert_allclose(whole[row], layer(inputs[row : row + 1])[0, count], atol=1e-6)
        for gap in range(min(last, count)):
            place = count - 1 - gap
            rest = [inputs[row, :place], after[row, gap : gap + 1][: min(gap, 1)], inputs[row, place + 2 : count]]
            state = layer(tf.concat(rest, axis=0)[None])[0, -1]
            np.testing.assert_allclose(without[row, gap], state, atol=1e-6)


def test_a_row_alone_and_among_longer_ones_is_the_same():
    layer, inputs, after = made()
    together = last_states(layer, inputs, tf.constant(COUNTS), after[:, :3])
    for row, count in enumerate(COUNTS):
        one = slice(row, row + 1)
        width = max(count, 1)
        alone = last_states(layer, inputs[one, :width], tf.constant([count]), after[one, :3])
        np.testing.assert_allclose(alone[0][0], together[0][row], atol=1e-6)
        kept = min(count, 3)
        np.testing.assert_allclose(alone[1][0, :kept], together[1][row, :kept], atol=1e-6)


def test_it_can_be_in_a_graph_of_any_batch_and_length():
    layer, inputs, after = made()
    spec = [tf.TensorSpec([None, None, I]), tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, 3, I])]
    graph = tf.function(lambda *given: last_states(layer, *given), input_signature=spec)
    for length in (1, 4, LENGTH):
        counts = tf.minimum(tf.constant(COUNTS), length)
        found, expected = (f(inputs[:, :length], counts, after[:, :3]) for f in (graph, graph.python_function))
        np.testing.assert_allclose(found[0], expected[0], atol=1e-6)
        np.testing.assert_allclose(found[1], expected[1], atol=1e-6)
