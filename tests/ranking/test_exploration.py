import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.ranking.exploration import Boltzmann, EpsilonGreedy, Greedy, Optimistic, Sampled, fill_slate, uniforms

RULES = [Greedy(), EpsilonGreedy(0.3), Boltzmann(0.5)]


def draw(scores, allowed=None, n=3, rule=RULES[1], floor=0.1, explore_top=3, u=None, greedy=False):
    scores = tf.constant(scores, tf.float32)
    allowed = tf.ones_like(scores, tf.bool) if allowed is None else tf.constant(allowed)
    u = tf.fill([scores.shape[0], n], 0.5) if u is None else u
    result = fill_slate(scores, allowed, n, rule, floor, explore_top, u, tf.fill([scores.shape[0]], greedy))
    return [part.numpy() for part in result]


def test_slot_probabilities_by_hand():
    # epsilon .3 over 4 candidates: .3/4 = .075 each, the best (index 2) + .7; times .9 plus the floor .1/2 on the
    # first two of them: .1175, .1175, .6975, .0675. The cumulative sum passes .5 at index 2.
    positions, propensities, probabilities = draw([[1, 2, 9, 0]], n=1, explore_top=2)
    np.testing.assert_allclose(probabilities[0, 0], [0.1175, 0.1175, 0.6975, 0.0675], atol=1e-6)
    assert positions.tolist() == [[2]]
    np.testing.assert_allclose(propensities, [[0.6975]], atol=1e-6)


def test_the_floor_moves_on_to_the_first_remaining_candidates():
    u = tf.constant([[0.0, 0.5]])
    positions, _, probabilities = draw([[5, 1, 1, 1]], n=2, rule=Greedy(), floor=0.4, explore_top=2, u=u)
    assert positions[0, 0] == 0
    np.testing.assert_allclose(probabilities[0, 1], [0, 0.6 + 0.2, 0.2, 0], atol=1e-6)


def test_boltzmann_by_hand():
    # scores / .5 = 0 and ln 3: weights 1 and 3
    _, _, probabilities = draw([[0, math.log(3) / 2]], n=1, rule=Boltzmann(0.5), floor=0)
    np.testing.assert_allclose(probabilities[0, 0], [0.25, 0.75], atol=1e-6)


def test_greedy_rows_are_the_arg_max_with_propensity_one():
    positions, propensities, _ = draw([[1, 7, 7, 3]], n=4, rule=Boltzmann(9.0), greedy=True)
    assert positions.tolist() == [[1, 2, 3, 0]]  # the first of equals
    assert propensities.tolist() == [[1, 1, 1, 1]]


@pytest.mark.parametrize("greedy", [True, False])
def test_too_few_allowed_candidates(greedy):
    positions, propensities, probabilities = draw([[1, 2, 3]], [[False, True, False]], n=3, greedy=greedy)
    assert positions.tolist() == [[1, -1, -1]]
    assert propensities.tolist() == [[1, 0, 0]]
    assert not probabilities[0, 1:].any()


def test_scores_that_are_not_finite_rank_last():
    positions, propensities, probabilities = draw([[np.nan, -np.inf, -5, np.inf]], rule=Boltzmann(1.0), greedy=True)
    assert positions[0, 0] == 2
    assert np.isfinite(probabilities).all()
    assert np.isfinite(propensities).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(RULES), st.floats(0, 1), st.integers(1, 7))
def test_each_slot_sums_to_one_over_what_remains_and_nothing_repeats(seed, rule, floor, explore_top):
    rng = np.random.default_rng(seed)
    scores, allowed = rng.normal(size=(4, 7)), rng.random((4, 7)) < 0.6
    u = tf.constant(rng.random((4, 5)), tf.float32)
    positions, propensities, probabilities = draw(scores, allowed, 5, rule, floor, explore_top, u)
    for b in range(4):
        left = set(np.flatnonzero(allowed[b]))
        for j in range(5):
            assert probabilities[b, j].sum() == pytest.approx(1.0 if left else 0.0, abs=1e-5)
            assert set(np.flatnonzero(probabilities[b, j])) <= left
            if not left:
                assert (positions[b, j], propensities[b, j]) == (-1, 0)
                continue
            assert propensities[b, j] == probabilities[b, j, positions[b, j]] > 0
            left.remove(positions[b, j])


def test_propensities_are_frequencies_over_requests():
    rows = 20_000
    ids = tf.strings.as_string(tf.range(rows))
    scores = tf.tile([[0.1, 0.9, 0.5, 0.0, 0.3]], [rows, 1])
    allowed = tf.tile([[True, True, True, False, True]], [rows, 1])
    result = fill_slate(
        scores, allowed, 2, EpsilonGreedy(0.4), 0.2, 2, tf.function(uniforms)(ids, 2), tf.zeros([rows], tf.bool)
    )
    first, second = result.positions.numpy().T
    expected = result.probabilities.numpy()[0, 0]
    np.testing.assert_allclose(np.bincount(first, minlength=5) / rows, expected, atol=0.012)
    given_first = first == 1
    expected = result.probabilities.numpy()[given_first, 1][0]
    np.testing.assert_allclose(np.bincount(second[given_first], minlength=5) / given_first.sum(), expected, atol=0.015)


def test_a_request_gets_the_same_slate_alone_in_a_batch_and_again():
    rng = np.random.default_rng(3)
    scores = tf.constant(rng.normal(size=(6, 9)), tf.float32)
    ids = tf.constant(["a", "b", "", "手机", "e" * 300, "f"])
    greedy = tf.equal(ids, "")

    @tf.function(reduce_retracing=True)
    def slates(rows, names, flags, n):
        return fill_slate(rows, rows > -1, n, Boltzmann(1.0), 0.1, 4, uniforms(names, n), flags)

    together = slates(scores, ids, greedy, tf.constant(5))
    again = slates(scores, ids, greedy, tf.constant(5))
    np.testing.assert_array_equal(together.positions, again.positions)
    for b in range(6):
        alone = slates(scores[b : b + 1], ids[b : b + 1], greedy[b : b + 1], tf.constant(3))  # fewer slots, too
        np.testing.assert_array_equal(alone.positions[0], together.positions[b, :3])
        np.testing.assert_array_equal(alone.propensities[0], together.propensities[b, :3])


def test_uniforms_differ_between_requests_and_are_the_same_in_every_process():
    values = uniforms(tf.constant(["one", "two", "one"]), 3).numpy()
    np.testing.assert_array_equal(values[0], values[2])
    assert (values[0] != values[1]).all()
    np.testing.assert_allclose(values[0], [0.75438285, 0.18591332, 0.23992383], atol=1e-7)


def test_the_sampler_compiles_under_xla_to_the_same_slates():
    rng = np.random.default_rng(4)
    scores, u = tf.constant(rng.normal(size=(5, 8)), tf.float32), tf.constant(rng.random((5, 4)), tf.float32)

    def slates():
        return fill_slate(scores, scores > -1.5, 4, EpsilonGreedy(0.2), 0.1, 3, u, tf.zeros([5], tf.bool))

    plain, compiled = tf.function(slates)(), tf.function(slates, jit_compile=True)()
    np.testing.assert_array_equal(plain.positions, compiled.positions)
    np.testing.assert_allclose(plain.propensities, compiled.propensities, atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: EpsilonGreedy(1.5),
        lambda: Boltzmann(0.0),
        lambda: Boltzmann(math.nan),
        lambda: draw([[1, 2]], floor=-0.1),
        lambda: draw([[1, 2]], explore_top=0),
        lambda: draw([[1, 2]], n=3, u=tf.zeros([1, 2])),
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        wrong()


def test_optimism_shows_what_may_be_best_by_hand():
    bonus = tf.constant([[0.0, 0.3, 2.5, 0.0]])
    positions, propensities, _ = draw([[1.0, 3.0, 1.0, 0.0]], n=3, rule=Optimistic(bonus), floor=0.0)
    assert positions.tolist() == [[2, 1, 0]]  # 3.5, 3.3 and 1
    np.testing.assert_allclose(propensities, 1.0)


def test_sampled_propensities_are_shares_of_the_draws():
    # of four draws the first item is best in three; without it, the second is in all but one
    deviations = tf.constant([[[0.0, 0.0, 0.0, -3.0], [0.0, 0.0, 0.0, 0.0], [-9.0, -9.0, -9.0, 1.5]]])
    scores = [[2.0, 1.0, 0.0]]
    _, _, probabilities = draw(scores, n=2, rule=Sampled(deviations), floor=0.0, u=tf.constant([[0.0, 0.0]]))
    np.testing.assert_allclose(probabilities[0, 0], [0.75, 0.0, 0.25])
    np.testing.assert_allclose(probabilities[0, 1], [0.0, 0.75, 0.25])


def test_many_draws_of_equal_normals_are_as_probable_as_they_should_be():
    """Two items whose scores differ by one standard deviation of the difference: Phi(1) = .841."""
    noise = tf.random.stateless_normal([1, 2, 40_000], [1, 2]) / math.sqrt(2)
    _, _, probabilities = draw([[1.0, 0.0]], n=1, rule=Sampled(noise), floor=0.0)
    assert probabilities[0, 0, 0] == pytest.approx(0.8413, abs=3 * math.sqrt(0.84 * 0.16 / 40_000))
