"""Lazy Adam: Adam where every row is touched, nothing where none is; under a strategy, resumed, in half precision."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.config import Train
from tfrec_llm.layers.lazy_adam import LazyAdam, make_adam

START = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
EVERY = [0, 1, 2, 3, 4, 5, 2]  # one row twice: its gradients add up


def slopes(step: int, count: int) -> np.ndarray:
    return np.random.default_rng([7, step]).normal(size=(count, 3)).astype(np.float32)


def steps(optimizer, table, rows, count=5, first=0):
    for step in range(first, first + count):
        gradient = tf.IndexedSlices(tf.constant(slopes(step, len(rows))), tf.constant(rows), tf.constant([6, 3]))
        optimizer.apply_gradients([(gradient, table)])
    return table.numpy()


def test_equals_adam_when_every_row_is_touched():
    ours = steps(LazyAdam(0.05), tf.Variable(START), EVERY)
    adam = steps(tf.keras.optimizers.Adam(0.05), tf.Variable(START), EVERY)
    np.testing.assert_allclose(ours, adam, atol=1e-6)
    assert np.abs(ours - START).min() > 1e-3


def test_dense_gradients_are_adam_s():
    ours, adam = tf.Variable(START), tf.Variable(START)
    for table, optimizer in ((ours, LazyAdam(0.05)), (adam, tf.keras.optimizers.Adam(0.05))):
        for step in range(3):
            optimizer.apply_gradients([(tf.constant(slopes(step, 6)), table)])
    np.testing.assert_allclose(ours, adam, atol=1e-6)


def test_only_touched_rows_move_and_only_their_moments():
    optimizer, table = LazyAdam(0.05), tf.Variable(START)
    got = steps(optimizer, table, [1, 4, 4])
    np.testing.assert_array_equal(got[[0, 2, 3, 5]], START[[0, 2, 3, 5]])
    assert np.abs(got[[1, 4]] - START[[1, 4]]).min() > 1e-3
    for moment in (optimizer._momentums[0], optimizer._velocities[0]):
        assert np.flatnonzero(moment.numpy().any(axis=1)).tolist() == [1, 4]


def test_a_row_waits_with_its_momentum_by_hand():
    """Row 0 is touched at steps 1 and 3, row 1 at step 2: the moments of row 0 do not decay in between."""
    optimizer, table, rate = LazyAdam(0.1), tf.Variable([[1.0], [1.0]]), 0.1
    for row, slope in ((0, 2.0), (1, 1.0), (0, -1.0)):
        optimizer.apply_gradients([(tf.IndexedSlices([[slope]], [row], [2, 1]), table)])
    m, v, weight = 0.1 * 2, 0.001 * 4, 1.0
    weight -= rate * np.sqrt(1 - 0.999) / (1 - 0.9) * m / (np.sqrt(v) + 1e-7)
    m, v = 0.9 * m + 0.1 * -1, 0.999 * v + 0.001 * 1
    weight -= rate * np.sqrt(1 - 0.999**3) / (1 - 0.9**3) * m / (np.sqrt(v) + 1e-7)
    np.testing.assert_allclose(table.numpy()[0], [weight], rtol=1e-5)


def test_goes_on_from_a_checkpoint(tmp_path):
    whole = steps(LazyAdam(0.05), tf.Variable(START), [1, 4], count=6)
    first, table = LazyAdam(0.05), tf.Variable(START)
    steps(first, table, [1, 4], count=3)
    path = tf.train.Checkpoint(optimizer=first, table=table).write(str(tmp_path / "half"))
    second, other = LazyAdam(0.05), tf.Variable(np.zeros_like(START))
    steps(second, other, [1], count=1)  # its variables exist only after a step, as in `fit`
    tf.train.Checkpoint(optimizer=second, table=other).read(path).assert_existing_objects_matched()
    np.testing.assert_array_equal(steps(second, other, [1, 4], count=3, first=3), whole)


def test_under_a_strategy_rows_of_all_replicas_add_up():
    cpu = tf.config.list_logical_devices("CPU")[0].name
    strategy = tf.distribute.MirroredStrategy([cpu])
    with strategy.scope():
        table, optimizer = tf.Variable(START), LazyAdam(0.05)

    @tf.function
    def step(number):
        def replica():
            gradient = tf.IndexedSlices(tf.constant(slopes(0, 2)), tf.constant([1, 4]), tf.constant([6, 3]))
            optimizer.apply_gradients([(gradient, table)])

        strategy.run(replica)

    step(0)
    np.testing.assert_allclose(table, steps(LazyAdam(0.05), tf.Variable(START), [1, 4], count=1), atol=1e-6)


def test_inside_a_loss_scale_optimizer():
    scaled, table = tf.keras.mixed_precision.LossScaleOptimizer(LazyAdam(0.05), dynamic=False, initial_scale=8), None
    table = tf.Variable(START)
    with tf.GradientTape() as tape:
        loss = scaled.get_scaled_loss(tf.reduce_sum(tf.square(tf.gather(table, [1, 4]))))
    gradients = scaled.get_unscaled_gradients(tape.gradient(loss, [table]))
    scaled.apply_gradients(zip(gradients, [table], strict=True))
    np.testing.assert_array_equal(table.numpy()[[0, 2, 3, 5]], START[[0, 2, 3, 5]])
    np.testing.assert_allclose(table.numpy()[[1, 4]], START[[1, 4]] - 0.05 * np.sign(START[[1, 4]]), atol=1e-4)


def test_settings_survive_and_amsgrad_is_refused():
    optimizer = LazyAdam(0.02, beta_1=0.8)
    again = LazyAdam.from_config(optimizer.get_config())
    assert (float(again.learning_rate), again.beta_1) == (pytest.approx(0.02), 0.8)
    with pytest.raises(ValueError, match="amsgrad=False"):
        LazyAdam(amsgrad=True)


def test_large_tables_are_lazy():
    settings = Train(lazy_rows=10)
    assert type(make_adam(0.1, 11, settings)) is LazyAdam
    assert type(make_adam(0.1, 10, settings)) is tf.keras.optimizers.Adam
