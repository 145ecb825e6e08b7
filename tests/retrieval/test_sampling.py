"""retrieval.sampling: the correction, estimated from the stream too, and the negatives that are hard."""

import numpy as np
import pytest
import tensorflow as tf

from tests.retrieval.test_two_towers import one_batch, towers
from tfrec_llm.retrieval.sampling import POOL, hardest, observe, sampling_probability


def test_sampling_probability_by_hand():
    # 10 pairs by frequency 3/4 and 1/4, 4 negatives over 2 items: 9.5 and 4.5 expected
    got = sampling_probability(np.array([0, 0, 3.0, 1.0]), 10, 4)
    np.testing.assert_allclose(got[2:], [1.0, 4.5 / 9.5], rtol=1e-6)
    assert np.all(sampling_probability(np.zeros(4), 10, 0) > 0)


def test_the_stream_tells_the_same_as_the_counts():
    rng, share = np.random.default_rng(0), np.array([0, 0, 0.6, 0.3, 0.1])
    sampled = tf.Variable(np.ones(5, np.float32))
    for step in range(600):
        ids = rng.choice(5, 50, p=share)
        observe(
            sampled,
            tf.constant(step),
            tf.constant(np.r_[ids, [3, 3]], tf.int32),
            tf.constant([True] * 50 + [False] * 2),
        )
    np.testing.assert_allclose(sampled[2:], share[2:], atol=0.03)
    assert np.all(sampled[:2] > 0)  # its logarithm is taken


def test_the_first_step_forgets_the_start():
    sampled = tf.Variable(np.full(4, 0.7, np.float32))
    observe(sampled, tf.constant(0), tf.constant([2, 2, 3, 2]), tf.constant([True] * 4))
    np.testing.assert_allclose(sampled, [1e-6, 1e-6, 0.75, 0.25])


def test_hardest_are_those_that_somebody_likes_best():
    queries = tf.constant([[1.0, 0.0], [0.0, 10.0]])
    vectors = tf.constant([[1.0, 0.0], [0.9, 0.0], [0.0, 1.0], [-1.0, 0.5], [-5.0, 0.0]])
    got = hardest(queries, tf.constant([7, 8, 9, 10, 11]), vectors, 2)
    assert set(got.numpy()) == {7, 9}


@pytest.mark.parametrize(
    "changes", [{"frequencies": "streaming"}, {"hard_negatives": 3}, {"frequencies": "streaming", "hard_negatives": 3}]
)
def test_towers_train_with_it(world, changes):
    dataset = world().dataset
    model = towers(dataset, **changes)
    model.compile(tf.keras.optimizers.Adam(0.05))
    batch = one_batch(dataset, negatives=12 + POOL * changes.get("hard_negatives", 0))
    before = model._sampled.numpy()
    losses = [float(model.train_step(batch)["loss"]) for _ in range(30)]
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.9 * losses[0]
    assert np.allclose(before, model._sampled) == ("frequencies" not in changes)
