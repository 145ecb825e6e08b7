"""Towers over sets: order means nothing, what goes together is found, bad input."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.retrieval.set_towers import SetTowers, SetTowersSettings, train_sets

ITEMS = 24
SMALL = SetTowersSettings(dim=8, batch_size=32, epochs=60, learning_rate=0.02, dropout=0.1)


def sets_of_three_groups(users=96):
    """Each user has six of the eight items of one group."""
    draw = np.random.default_rng(0)
    sets = np.zeros([users, ITEMS], np.float32)
    for user in range(users):
        sets[user, draw.permutation(8)[:6] + 8 * (user % 3)] = 1
    return sets


def test_what_goes_together_is_found_for_a_set_never_seen():
    model = train_sets(SMALL, sets_of_three_groups(), 1)
    asked = np.zeros([3, ITEMS], np.float32)
    for group in range(3):
        asked[group, 8 * group : 8 * group + 3] = 1
    scores = tf.matmul(model(tf.constant(asked)), model.item_table(), transpose_b=True).numpy()
    for group in range(3):
        inside = np.arange(ITEMS) // 8 == group
        left = inside & (asked[group] == 0)
        assert scores[group, left].min() > scores[group, ~inside].max()


def test_the_seed_decides():
    quick = SetTowersSettings(dim=4, epochs=2, batch_size=32)
    one, same, other = (train_sets(quick, sets_of_three_groups(), seed).items.numpy() for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)


def test_scores_at_the_start_are_the_popularity_and_shapes_fit():
    counts = np.arange(ITEMS)
    model = SetTowers(SetTowersSettings(dim=5), counts)
    query = model(tf.constant(sets_of_three_groups(4)))
    assert query.shape == (4, 6)
    scores = tf.matmul(query, model.item_table(), transpose_b=True)
    np.testing.assert_allclose(scores, np.tile(np.log1p(counts), (4, 1)), rtol=1e-5)


def test_an_empty_set_asks_for_what_is_popular():
    model = train_sets(SMALL, sets_of_three_groups(), 1)
    query = model(tf.zeros([1, ITEMS]))
    np.testing.assert_array_equal(query, [[0] * 8 + [1]])


def test_the_loss_is_the_cross_entropy_of_what_was_not_shown():
    sets = tf.constant(sets_of_three_groups(8))
    model = SetTowers(SetTowersSettings(dim=4), np.ones(ITEMS))  # all items alike at the start
    assert float(model.compute_loss_of(sets, training=False)) == pytest.approx(np.log(ITEMS), rel=1e-5)


@pytest.mark.parametrize("sets", [np.zeros([3, 4]), np.zeros([0, 4]), np.ones(4)])
def test_nothing_to_learn_from_is_refused(sets):
    with pytest.raises(ValueError, match=r"expected sets \[U, N\] with an item"):
        train_sets(SMALL, sets, 1)
