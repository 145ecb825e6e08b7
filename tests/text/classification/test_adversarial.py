import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.config import Regularise
from tfrec_llm.text.classification.adversarial import worst_perturbation

SLOPE = tf.constant([[3.0, 4.0], [0.0, -2.0]])


def linear(moved):
    return tf.reduce_sum(SLOPE * moved)


def test_fgm_goes_epsilon_along_the_gradient():
    # gradients (3, 4) and (0, -2), scaled to length .5
    moved = worst_perturbation(linear, tf.zeros([2, 2]), Regularise(adversarial="fgm"), 0.5)
    np.testing.assert_allclose(moved, [[0.3, 0.4], [0.0, -0.5]], atol=1e-6)


def test_pgd_stays_in_the_ball_and_beats_one_step_on_a_curve():
    def bent(moved):  # a hill beside the way that the first gradient points: highest at (.3, .4) of the ball
        return -tf.reduce_sum(tf.square(moved - tf.constant([[0.3, 0.4]])) * tf.constant([1.0, 9.0]))

    zero = tf.zeros([1, 2])
    fgm = worst_perturbation(bent, zero, Regularise(adversarial="fgm"), 0.5)
    pgd = worst_perturbation(bent, zero, Regularise(adversarial="pgd", pgd_steps=5), 0.5)
    assert tf.norm(pgd).numpy() <= 0.5 + 1e-6
    assert bent(pgd) > bent(fgm)


@pytest.mark.parametrize("kind", ["fgm", "pgd"])
def test_what_must_not_move_and_what_has_no_slope_stay(kind):
    keep = tf.constant([[True, False], [True, True]])
    flat = worst_perturbation(
        lambda moved: tf.reduce_sum(SLOPE[:1] * moved[:1]), tf.zeros([2, 2]), Regularise(adversarial=kind), 0.5, keep
    )
    np.testing.assert_allclose(flat, [[0.5, 0.0], [0.0, 0.0]], atol=1e-6)


@pytest.mark.parametrize("kind", ["fgm", "pgd"])
def test_a_ball_without_a_radius_holds_nothing(kind):
    np.testing.assert_array_equal(worst_perturbation(linear, tf.zeros([2, 2]), Regularise(adversarial=kind), 0.0), 0)
