"""Cross entropy over items: by hand, against TensorFlow's own, sampled against whole."""

import numpy as np
import tensorflow as tf

from tfrec_llm.layers import softmax
from tfrec_llm.layers.softmax import Targets

GENERATOR = np.random.default_rng(0)
TABLE = GENERATOR.normal(size=(9, 4)).astype(np.float32)
QUERIES = GENERATOR.normal(size=(3, 4)).astype(np.float32)


def targets(*triples):
    row, item, weight = zip(*triples, strict=True)
    return Targets(tf.constant(row), tf.constant(item), tf.constant(weight, tf.float32))


def test_even_logits_cost_the_logarithm_of_the_number_of_items():
    loss = softmax.full_softmax(tf.zeros((1, 4)), tf.constant(TABLE), targets((0, 5, 1.0)))
    np.testing.assert_allclose(loss, np.log(7), rtol=1e-6)  # nine rows, seven of them items


def test_rows_0_and_1_never_take_part():
    loud = TABLE.copy()
    loud[:2] = 1e3
    pair = [softmax.full_softmax(QUERIES, tf.constant(t), targets((0, 3, 1.0), (2, 8, 1.0))) for t in (TABLE, loud)]
    np.testing.assert_array_equal(*pair)


def test_equals_keras_with_several_targets_and_rows_without():
    many = targets((0, 3, 0.5), (0, 4, 0.5), (2, 8, 1.0), (1, 0, 0.0))
    logits = QUERIES @ TABLE[2:].T  # [3, 7]
    labels = np.zeros((3, 7))
    labels[0, [1, 2]], labels[2, 6] = 0.5, 1
    expected = tf.nn.softmax_cross_entropy_with_logits(labels, logits).numpy()[[0, 2]].mean()
    for packed in (True, False):
        np.testing.assert_allclose(softmax.full_softmax(QUERIES, tf.constant(TABLE), many, packed), expected, rtol=1e-5)


def test_gradients_equal_those_of_the_plain_formula():
    one = targets((0, 3, 1.0), (1, 4, 1.0), (2, 8, 1.0))

    def plain(queries, table):
        logits = tf.matmul(queries, table[2:], transpose_b=True)
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(one.item - 2, logits))

    got = gradients(lambda q, t: softmax.full_softmax(q, t, one))
    for a, b in zip(got, gradients(plain), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def gradients(loss):
    queries, table = tf.constant(QUERIES), tf.constant(TABLE)
    with tf.GradientTape() as tape:
        tape.watch([queries, table])
        value = loss(queries, table)
    return [tf.convert_to_tensor(g) for g in tape.gradient(value, [queries, table])]


def test_no_target_no_loss():
    assert float(softmax.full_softmax(QUERIES, tf.constant(TABLE), targets((0, 0, 0.0)))) == 0


def sampled(items, log_expected, wanted):
    vectors = (tf.gather(TABLE, wanted.item), tf.gather(TABLE, items))
    return softmax.sampled_softmax(QUERIES, *vectors, tf.constant(items), tf.constant(log_expected), wanted)


def test_sampling_every_item_once_is_the_whole_softmax():
    wanted = targets((0, 3, 0.5), (0, 4, 0.5), (2, 8, 1.0), (1, 0, 0.0))
    items = np.arange(2, 9).astype(np.int32)[::-1].copy()
    full = softmax.full_softmax(QUERIES, tf.constant(TABLE), wanted)
    np.testing.assert_allclose(sampled(items, np.zeros(7, np.float32), wanted), full, rtol=1e-5)


def test_accidental_hits_are_removed():
    wanted = targets((0, 3, 1.0))
    expected = np.log(np.exp(QUERIES[0] @ TABLE[3]) + np.exp(QUERIES[0] @ TABLE[5])) - QUERIES[0] @ TABLE[3]
    got = sampled(np.array([3, 5, 3], np.int32), np.zeros(3, np.float32), wanted)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_a_hit_of_one_row_stays_a_negative_of_another():
    wanted = targets((0, 3, 1.0), (1, 5, 1.0))
    logits = QUERIES @ TABLE.T
    expected = [
        np.log(np.exp(logits[0, [3, 5]]).sum()) - logits[0, 3],
        np.log(np.exp(logits[1, [3, 5]]).sum()) - logits[1, 5],
    ]
    got = sampled(np.array([5, 3], np.int32), np.zeros(2, np.float32), wanted)
    np.testing.assert_allclose(got, np.mean(expected), rtol=1e-5)


def test_partition_is_unbiased_whatever_the_sampler():
    sampler = softmax.Sampler(np.array([0.0, 0.0, 9, 5, 1, 1, 2, 3, 1]))
    tf.random.set_seed(3)
    wanted = targets((0, 3, 1.0), (1, 4, 1.0), (2, 8, 1.0))
    full = float(softmax.full_softmax(QUERIES, tf.constant(TABLE), wanted))
    items, log_expected = sampler(tf.random.uniform((20_000,)))
    got = float(sampled(items.numpy(), log_expected.numpy(), wanted))
    assert abs(got - full) < 0.02 * full


def test_drawn_items_follow_their_shares():
    share = np.array([5, 5, 1, 2, 0, 7])  # rows 0 and 1 are ignored; an item without a share is never drawn
    tf.random.set_seed(1)
    items, log_expected = softmax.Sampler(share)(tf.random.uniform((20_000,)))
    counts = np.bincount(items, minlength=6) / 20_000
    np.testing.assert_allclose(counts, [0, 0, 0.1, 0.2, 0, 0.7], atol=1e-4)
    np.testing.assert_allclose(np.exp(log_expected), 2_000 * share[items.numpy()], rtol=1e-4)


def test_draws_of_a_few_are_unbiased_and_a_million_items_are_told_apart():
    tf.random.set_seed(2)
    sampler = softmax.Sampler(np.array([0, 0, 1, 2, 7]))
    counts = sum(np.bincount(sampler(tf.random.uniform((3,)))[0], minlength=5) for _ in range(300)) / 900
    np.testing.assert_allclose(counts, [0, 0, 0.1, 0.2, 0.7], atol=0.04)
    items, _ = softmax.Sampler(np.ones(1_000_002))(tf.random.uniform((50_000,)))
    assert len(np.unique(items)) > 49_000


def test_xla_gives_the_same_loss():
    wanted = targets((0, 3, 0.5), (0, 4, 0.5), (2, 8, 1.0))
    items, log_expected = np.array([3, 5, 6, 6], np.int32), np.zeros(4, np.float32)
    compiled = tf.function(lambda: sampled(items, log_expected, wanted), jit_compile=True)
    np.testing.assert_allclose(compiled(), sampled(items, log_expected, wanted), rtol=1e-5)
