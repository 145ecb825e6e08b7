"""Layer normalisation of few rows: as Keras answers, built or not."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.layers.norm import normalised


@pytest.mark.parametrize("shape", [(1, 16), (3, 5, 16)])
def test_it_answers_as_the_layer(shape):
    draw, norm = np.random.default_rng(0), tf.keras.layers.LayerNormalization()
    values = tf.constant(draw.normal(3.0, 2.0, shape), tf.float32)
    unlearnt = normalised(norm, values)
    np.testing.assert_allclose(unlearnt, norm(values), atol=1e-5)
    norm.set_weights([draw.normal(size=16), draw.normal(size=16)])
    found = normalised(norm, values)
    np.testing.assert_allclose(found, norm(values), atol=1e-5)
    assert np.abs(found - unlearnt).max() > 0.1


def test_it_answers_in_the_precision_of_the_layer():
    norm = tf.keras.layers.LayerNormalization(dtype=tf.keras.mixed_precision.Policy("mixed_bfloat16"))
    values = tf.random.stateless_normal([2, 8], [1, 2], dtype=tf.bfloat16)
    found = normalised(norm, values)
    assert found.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(found, tf.float32), tf.cast(norm(values), tf.float32), atol=0.03)
