"""What tells a language is a direction, and it is found where two languages are."""

import numpy as np

from tfrec_llm.text.languages import difference, orthonormal


def test_the_direction_between_two_languages():
    draw = np.random.default_rng(1)
    vectors = draw.normal(0, 0.01, (40, 6)).astype(np.float32)
    vectors[20:, 2] += 3
    found = difference(vectors, ["en"] * 20 + ["zh"] * 20)
    np.testing.assert_allclose(found, [0, 0, 3, 0, 0, 0], atol=0.05)


def test_one_language_or_too_few_texts_of_the_other_have_none():
    vectors = np.ones((30, 4), np.float32)
    assert difference(vectors, ["en"] * 30) is None
    assert difference(vectors, ["en"] * 25 + ["zh"] * 5) is None


def test_axes_are_orthonormal_and_what_adds_nothing_is_zero():
    one, two = np.array([3.0, 0, 0], np.float32), np.array([1.0, 1, 0], np.float32)
    np.testing.assert_allclose(orthonormal([one, two], 3), [[1, 0, 0], [0, 1, 0]], atol=1e-6)
    np.testing.assert_allclose(orthonormal([one, 2 * one], 3), [[1, 0, 0], [0, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(orthonormal([None, two], 3)[0], 0)
