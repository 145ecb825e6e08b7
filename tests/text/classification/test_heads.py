import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.layers.noise import Noise
from tfrec_llm.metrics import macro_f1
from tfrec_llm.text.classification.answers import best_cuts, negative_log_likelihood
from tfrec_llm.text.classification.heads import Head, HeadModel, row_weights, undecided
from tfrec_llm.training import load_weights, save_weights


def separable(rows=200, dim=8, labels=3, seed=0):
    """Three clusters far apart."""
    draw = np.random.default_rng(seed)
    targets = draw.integers(0, labels, rows).astype(np.int32)
    centres = 4 * np.eye(labels, dim)
    return (centres[targets] + draw.normal(0, 0.3, (rows, dim))).astype(np.float32), targets


@pytest.mark.parametrize("hidden", [0, 16])
def test_learns_what_is_separable(hidden):
    x, y = separable()
    head = Head(8, 3, hidden, seed=1)
    head.standardise(x)
    HeadModel(head, 0.02).fit(x, y, sample_weight=row_weights(y, 3), epochs=15, verbose=0)
    x, y = separable(seed=1)
    assert (head.probabilities(tf.constant(x)).numpy().argmax(1) == y).mean() > 0.98


def test_a_dead_column_that_wakes_up_is_no_louder_than_the_others():
    """Fine-tuning moves columns that stood still when the head was made, as MiniLM's three do."""
    x, y = separable()
    asleep, awake = x.copy(), x.copy()
    asleep[:, 7] = 1e-33 * np.random.default_rng(0).normal(size=len(x))
    awake[:, 7] = np.random.default_rng(1).normal(0, 0.3, len(x))  # says nothing of the label
    head = Head(8, 3, 16, seed=1)
    head.standardise(asleep)
    assert head.scale.numpy()[7] == pytest.approx(10 / np.median(x[:, :7].std(0)), rel=1e-4)  # a tenth of the median
    model = HeadModel(head, 0.01)
    model.fit(asleep, y, epochs=5, verbose=0)
    model.fit(awake, y, epochs=5, verbose=0)
    awake[:, 7] *= -1
    assert (head.probabilities(tf.constant(awake)).numpy().argmax(1) == y).mean() > 0.95


def test_columns_that_all_stand_still_are_left_as_they_are():
    head = Head(3, 2)
    head.standardise(np.full((5, 3), 0.5, np.float32))
    np.testing.assert_array_equal(head.scale, np.ones(3))


def test_learns_nothing_from_noise():
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(400, 4)).astype(np.float32), draw.integers(0, 2, 400).astype(np.int32)
    head = Head(4, 2, seed=1)
    HeadModel(head, 0.01).fit(x, y, epochs=5, verbose=0)
    x, y = draw.normal(size=(2000, 4)).astype(np.float32), draw.integers(0, 2, 2000)
    assert abs((head.probabilities(tf.constant(x)).numpy().argmax(1) == y).mean() - 0.5) < 0.06


def test_several_labels_at_once():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(400, 3)).astype(np.float32)
    y = x > 0
    head = Head(3, 3, multi_label=True, seed=1)
    HeadModel(head, 0.05).fit(x, y.astype(np.float32), epochs=20, verbose=0)
    assert ((head.probabilities(tf.constant(x)).numpy() > 0.5) == y).mean() > 0.97


def test_likelihood_by_hand():
    logits = np.log(np.array([[0.25, 0.75], [0.5, 0.5]]))
    assert negative_log_likelihood(logits, np.array([1, 0]), False) == pytest.approx(-np.log([0.75, 0.5]).mean())
    # sigmoid(0) = 1/2 for each of two labels, whatever holds
    assert negative_log_likelihood(np.zeros((1, 2)), np.array([[True, False]]), True) == pytest.approx(np.log(2))


def test_rare_labels_weigh_more_and_the_mean_is_one():
    weights = row_weights(np.array([0, 0, 0, 0, 1]), 3)
    assert weights[4] / weights[0] == pytest.approx(2)  # root of 4 to 1
    assert weights.mean() == pytest.approx(1)


def test_calibration_finds_the_temperature():
    draw = np.random.default_rng(0)
    x = draw.normal(0, 2, (20_000, 1)).astype(np.float32)
    head = Head(1, 2)
    head.kernel.assign([[0.0, 2.0]])  # says sigmoid(2x) where sigmoid(x) is true: temperature 2
    y = (draw.random(20_000) < 1 / (1 + np.exp(-x[:, 0]))).astype(np.int32)
    head.calibrate(x, y)
    assert head.temperature.numpy() == pytest.approx(2, rel=0.1)


def test_undecided_head_is_uniform():
    np.testing.assert_allclose(undecided(4, 5, 3).probabilities(tf.ones([2, 4])), np.full((2, 5), 0.2), atol=1e-6)


def test_saved_and_read_again(tmp_path):
    x, _ = separable(5)
    head, other = Head(8, 3, 4, seed=1), Head(8, 3, 4, seed=2)
    head.standardise(x)
    save_weights(head, tmp_path / "head.npz")
    load_weights(other, tmp_path / "head.npz")
    np.testing.assert_array_equal(head.probabilities(x), other.probabilities(x))


def losses(jit_compile: bool, multi_label: bool) -> list[float]:
    x, y = separable(64)
    y = np.eye(3, dtype=np.float32)[y] if multi_label else y
    model = HeadModel(Head(8, 3, 16, multi_label=multi_label, seed=1), 0.01, jit_compile)
    return [model.train_on_batch(x, y, sample_weight=np.ones(64)) for _ in range(4)]


@pytest.mark.parametrize("multi_label", [False, True])
def test_step_compiles_under_xla_with_the_same_loss(multi_label):
    np.testing.assert_allclose(losses(True, multi_label), losses(False, multi_label), atol=1e-4)


def test_dropout_compiles_under_xla_and_is_off_outside_training():
    x, y = separable(64)
    head = Head(8, 3, 16, dropout=0.5, seed=1)
    assert np.isfinite(HeadModel(head, 0.01, jit_compile=True).train_on_batch(x, y))
    np.testing.assert_array_equal(head(x), head(x))
    first, other = head(x, Noise(1, tf.constant(0))), head(x, Noise(1, tf.constant(1)))
    assert np.abs(first - other).max() > 0
    np.testing.assert_array_equal(first, head(x, Noise(1, tf.constant(0))))


def test_cuts_are_half_of_the_best_f1():
    probabilities = np.array([[0.9, 0.4], [0.8, 0.3], [0.3, 0.2], [0.1, 0.1]])
    targets = np.array([[True, False], [True, True], [False, False], [False, False]])
    # best F1 of the labels: 1 at 0.8, 2 * 1 / (2 + 1) at 0.3; each is drawn towards their mean, 5/6, by ten rows
    wanted = [(2 * 1 + 10 * 5 / 6) / 12 / 2, (2 / 3 + 10 * 5 / 6) / 11 / 2]
    np.testing.assert_allclose(best_cuts(probabilities, targets), wanted, rtol=1e-6)
    np.testing.assert_array_equal(best_cuts(probabilities, np.zeros_like(targets)), [0.5, 0.5])
    np.testing.assert_array_equal(best_cuts(probabilities[:0], targets[:0]), [0.5, 0.5])


def test_a_rare_label_is_said_though_it_is_never_probable():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(4000, 1)).astype(np.float32)
    y = draw.random((4000, 1)) < 1 / (1 + np.exp(4 - 1.5 * x))  # one row in 25, at most as probable as not
    head = Head(1, 1, multi_label=True)
    head.kernel.assign([[1.5]])
    head.bias.assign([-4.0])
    head.calibrate(x[:2000], y[:2000])
    stated = head.probabilities(tf.constant(x[2000:])).numpy()
    even, said = stated > 0.5, head.decisions(stated)
    assert macro_f1(y[2000:], said) > macro_f1(y[2000:], even) + 0.1
    again = Head(1, 1, multi_label=True)
    again.cuts.assign(head.cuts)
    np.testing.assert_array_equal(again.decisions(stated), said)
