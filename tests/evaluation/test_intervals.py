import numpy as np
import pytest

from tfrec_llm.evaluation import paired_bootstrap, summarise, summarise_all


def test_constant_values_have_a_narrow_interval():
    assert summarise(np.full(50, 0.25)) == (0.25, (0.25, 0.25), 50)


def test_interval_is_that_of_the_normal_approximation():
    values = np.random.default_rng(0).normal(1.0, 2.0, 2000)
    figure = summarise(values, bootstrap=2000)
    error = 1.96 * values.std() / 2000**0.5
    assert figure.value == pytest.approx(values.mean())
    assert figure.ci95 == pytest.approx((values.mean() - error, values.mean() + error), abs=0.01)


def test_together_is_the_same_as_one_by_one():
    one, other = np.random.default_rng(0).random((2, 100))
    together = summarise_all({"one": one, "other": other}, 200, seed=3)
    for name, values in (("one", one), ("other", other)):
        alone = summarise(values, 200, seed=3)
        assert together[name].value == alone.value
        assert together[name].ci95 == pytest.approx(alone.ci95)
    with pytest.raises(ValueError, match="same queries"):
        summarise_all({"one": one, "other": other[:50]})


def test_resamples_are_those_of_the_generator():
    values, generator = np.array([1.0, 2.0, 4.0]), np.random.default_rng(5)
    means = [values[row].mean() for row in generator.integers(3, size=(40, 3))]
    assert summarise(values, 40, seed=5).ci95 == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))


def test_one_user_has_no_interval():
    assert summarise(np.array([0.5])) == (0.5, None, 1)


def test_seeded():
    values = np.random.default_rng(0).random(100)
    assert summarise(values, 100, seed=3) == summarise(values, 100, seed=3)
    assert summarise(values, 100, seed=3) != summarise(values, 100, seed=4)


def test_in_parts_is_the_same(monkeypatch):
    values = np.random.default_rng(0).random(100)
    whole = summarise(values, 64)
    monkeypatch.setattr("tfrec_llm.evaluation.intervals.CHUNK", 1000)
    assert summarise(values, 64) == whole


@pytest.mark.parametrize("values", [np.zeros(0), np.array([1.0, np.nan]), np.zeros((2, 2))])
def test_nothing_to_summarise(values):
    with pytest.raises(ValueError, match="left out"):
        summarise(values)


def test_pairs_show_what_single_intervals_hide():
    noise = np.random.default_rng(0).random(500)
    a, b = noise + 0.01, noise
    single = summarise(a).ci95
    assert single[0] < b.mean() < single[1]
    found = paired_bootstrap(a, b, 1000)
    assert found.difference == pytest.approx(0.01)
    assert found.ci95 == pytest.approx((0.01, 0.01))
    assert found.p == pytest.approx(2 / 1001)
    assert found.n == 500


def test_equal_systems():
    values = np.random.default_rng(0).random(30)
    found = paired_bootstrap(values, values)
    assert (found.difference, found.ci95, found.p) == (0.0, (0.0, 0.0), 1.0)


def test_sides_can_be_exchanged():
    a, b = np.random.default_rng(0).random((2, 40))
    one, other = paired_bootstrap(a, b), paired_bootstrap(b, a)
    assert one.difference == pytest.approx(-other.difference)
    assert one.ci95 == pytest.approx((-other.ci95[1], -other.ci95[0]))


def test_different_queries():
    with pytest.raises(ValueError, match="same queries"):
        paired_bootstrap(np.zeros(3), np.zeros(4))
