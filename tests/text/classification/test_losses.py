"""Masked losses and the divergence of two passes, by hand."""

import numpy as np
import tensorflow as tf

from tfrec_llm.text.classification.losses import divergence, masked_binary_cross_entropy, masked_cross_entropy


def test_cross_entropy_by_hand_and_without_a_label():
    logits = tf.math.log([[0.25, 0.75], [0.5, 0.5], [0.9, 0.1]])
    losses = masked_cross_entropy(logits, tf.constant([1, -1, 0]), tf.constant([1.0, 1.0, 2.0]))
    # -log .75; no label; twice -log .9
    np.testing.assert_allclose(losses, [-np.log(0.75), 0, -2 * np.log(0.9)], rtol=1e-5)


def test_smoothing_spreads_the_target():
    logits = tf.math.log([[0.25, 0.75]])
    losses = masked_cross_entropy(logits, tf.constant([1]), tf.ones(1), smoothing=0.2)
    # target .9 and .1
    np.testing.assert_allclose(losses, [-0.9 * np.log(0.75) - 0.1 * np.log(0.25)], rtol=1e-5)


def test_no_gradient_without_a_label():
    logits = tf.Variable([[1.0, 2.0], [3.0, -1.0]])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(masked_cross_entropy(logits, tf.constant([-1, 1]), tf.ones(2)))
    gradient = tape.gradient(loss, logits).numpy()
    assert not gradient[0].any()
    assert gradient[1].all()


def test_multi_label_counts_known_labels_only():
    logits = tf.constant([[0.0, 5.0, 0.0], [1.0, 1.0, 1.0]])
    losses = masked_binary_cross_entropy(logits, tf.constant([[1.0, -1.0, 0.0], [-1.0] * 3]), tf.ones(2))
    # log 2 for each of the two known labels, their mean; nothing known in the second row
    np.testing.assert_allclose(losses, [np.log(2), 0], rtol=1e-5)


def test_divergence_is_zero_for_equals_and_symmetric():
    first, second = tf.math.log([[0.2, 0.8]]), tf.math.log([[0.6, 0.4]])
    assert divergence(first, first, False).numpy() == 0
    both = 0.2 * np.log(0.2 / 0.6) + 0.8 * np.log(0.8 / 0.4) + 0.6 * np.log(0.6 / 0.2) + 0.4 * np.log(0.4 / 0.8)
    np.testing.assert_allclose(divergence(first, second, False), [both / 2], rtol=1e-5)
    np.testing.assert_allclose(divergence(second, first, False), [both / 2], rtol=1e-5)


def test_divergence_of_single_decisions():
    first, second = tf.constant([[np.log(3.0), 0.0]], tf.float32), tf.zeros([1, 2])  # .75 against .5, and .5 twice
    one = 0.75 * np.log(0.75 / 0.5) + 0.25 * np.log(0.25 / 0.5) + 0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25)
    np.testing.assert_allclose(divergence(first, second, True), [one / 2 / 2], rtol=1e-5)
