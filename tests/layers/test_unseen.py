"""Items that training never saw: foretold by hand-made content, the others untouched."""

import numpy as np
import tensorflow as tf

from tfrec_llm.layers.unseen import fill_in, foresee, later_rows, seen_items, start_at_zero


def world(items=400, unseen=40, noise=0.0, seed=0):
    """Values that are a linear function of the content, for items in random order."""
    rng = np.random.default_rng(seed)
    content = rng.normal(size=(items + 2, 8)).astype(np.float32)
    values = content @ rng.normal(size=(8, 3)) + 5 + noise * rng.normal(size=(items + 2, 3))
    counts = rng.integers(1, 200, items + 2).astype(float)
    counts[:2] = 0
    counts[rng.permutation(items)[:unseen] + 2] = 0
    return values.astype(np.float32), content, counts


def test_a_linear_world_is_foretold_and_the_seen_are_untouched():
    values, content, counts = world()
    known = counts > 0
    given = np.where(known[:, None], values, 99)
    found = foresee(given, content, counts)
    np.testing.assert_array_equal(found[known], given[known])
    np.testing.assert_array_equal(found[:2], given[:2])
    unseen = ~known & (np.arange(len(counts)) >= 2)
    np.testing.assert_allclose(found[unseen], values[unseen], atol=0.02)


def test_content_that_says_nothing_gives_the_mean():
    values, content, counts = world()
    noise = np.random.default_rng(9).normal(size=content.shape).astype(np.float32)
    unseen = (counts == 0) & (np.arange(len(counts)) >= 2)
    found = foresee(values, noise, counts)
    mean = np.average(values, axis=0, weights=counts / (counts + 20))
    assert np.abs(found[unseen] - mean).max() < 0.3 * values.std()
    np.testing.assert_allclose(foresee(values, noise[:, :0], counts)[unseen], np.tile(mean, (40, 1)), rtol=1e-4)


def test_rare_items_count_less():
    """Two kinds of items with the same content: those with many events decide."""
    values = np.array([[0], [0], [1], [1], [9], [9], [0]], np.float32)
    counts = np.array([0, 0, 5000, 5000, 1, 1, 0])
    assert foresee(values, np.zeros((7, 2)), counts)[6, 0] < 2


def test_nothing_to_do_and_nothing_known():
    values, content, counts = world(unseen=0)
    np.testing.assert_array_equal(foresee(values, content, counts), values)
    np.testing.assert_array_equal(foresee(values, content, np.zeros_like(counts)), values)
    assert seen_items(np.zeros(5)).tolist() == [False, False, True, True, True]


def test_variables_in_place():
    values, content, counts = world()
    ids, popularity = tf.Variable(values[:, :2]), tf.Variable(values[:, 2])
    start_at_zero(ids, counts)
    unseen = (counts == 0) & (np.arange(len(counts)) >= 2)
    assert not ids.numpy()[unseen].any()
    np.testing.assert_array_equal(ids.numpy()[counts > 0], values[counts > 0][:, :2])
    fill_in(ids, popularity, content, counts)
    np.testing.assert_allclose(ids.numpy()[unseen], values[unseen][:, :2], atol=0.02)
    np.testing.assert_allclose(popularity.numpy()[unseen], values[unseen][:, 2], atol=0.02)


def test_items_that_come_after_the_training_are_foretold_like_unseen_ones():
    values, content, counts = world()
    ids, popularity = later_rows(values[:, :2], values[:, 2], content, counts, content[[5, 9]])
    np.testing.assert_allclose(np.column_stack([ids, popularity]), values[[5, 9]], atol=0.02)
    assert ids.dtype == popularity.dtype == np.float32
