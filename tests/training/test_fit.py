"""fit: the best averaged weights stay, NaN is named, limits hold, TensorBoard hears of it."""

import math
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator

from tfrec_llm.training import Stage, fit, latest_is_best


class Counter(tf.keras.Model):
    """Its one weight w grows by exactly 1 per step; the loss is what the batch says."""

    def __init__(self):
        super().__init__()
        self.w = self.add_weight(name="w", shape=[], initializer="zeros")

    def train_step(self, batch):
        self.w.assign_add(1.0)
        return {"loss": tf.reduce_mean(batch)}


def counter():
    model = Counter()
    model.compile("sgd")
    return model


@pytest.fixture
def stage(tmp_path):
    folders = [tmp_path / name for name in ("folder", "work", "logs")]
    for folder in folders:
        folder.mkdir()
    return Stage("toy", *folders)


def batches(values, size=1):
    return tf.data.Dataset.from_tensor_slices(np.asarray(values, np.float32)).batch(size)


def test_a_linear_rule_is_learnt(stage):
    generator = np.random.default_rng(0)
    x = generator.normal(size=[64, 3]).astype(np.float32)
    y = x @ np.array([[1.0], [-2.0], [0.5]], np.float32)
    model = tf.keras.Sequential([tf.keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile(tf.keras.optimizers.Adam(0.2), "mse")
    history = fit(model, tf.data.Dataset.from_tensor_slices((x, y)).repeat(4).batch(8), stage=stage, epochs=3)
    assert [entry["pass"] for entry in history] == [1, 2, 3]
    assert history[-1]["loss"] < 1e-2 < history[0]["loss"]
    np.testing.assert_allclose(model.layers[0].kernel[:, 0], [1.0, -2.0, 0.5], atol=0.1)


def test_no_pass_ends_by_waiting_for_tf_datas_autotuning(stage):
    seen = []

    class Watched(Counter):
        def fit(self, x, **settings):
            seen.append(x.options().autotune.enabled)
            return super().fit(x, **settings)

    model = Watched()
    model.compile("sgd")
    fit(model, batches([1, 1]), stage=stage, epochs=2)
    assert seen == [False, False]


def test_so_many_passes_as_are_wanted_whatever_they_bring(stage):
    model = counter()
    validate = latest_is_best("ndcg@10", stage)
    history = fit(model, batches([1, 1]), stage=stage, epochs=5, patience=1, validate=validate)
    assert [entry["ndcg@10"] for entry in history] == [1, 2, 3, 4, 5]
    assert latest_is_best("ndcg@10", stage)() == {"ndcg@10": 6}  # as a training that was killed goes on


def test_the_best_pass_stays(stage):
    model = counter()
    figures = iter([0.1, 0.5, 0.2, 0.3])
    history = fit(
        model, batches([1, 1]), stage=stage, epochs=4, validate=lambda: {"ndcg@10": next(figures), "hr@10": 1.0}
    )
    assert [entry["ndcg@10"] for entry in history] == [0.1, 0.5, 0.2, 0.3]
    assert history[0]["hr@10"] == 1.0
    assert float(model.w) == 4.0  # two steps a pass, pass 2 was best


def test_of_passes_about_as_good_as_the_best_the_last_stays_where_that_is_wanted(stage):
    figures, model = iter([0.50, 0.70, 0.60, 0.69, 0.66, 0.67, 0.90]), counter()
    validate = lambda: {"f1": next(figures)}  # noqa: E731
    history = fit(model, batches([1]), stage=stage, epochs=9, patience=2, validate=validate, monitor="f1", slack=0.02)
    assert len(history) == 6  # two passes after the fourth; the sixth is near the fourth, but not near the best
    assert float(model.w) == 4


def test_the_first_passes_cost_no_patience(stage):
    figures = iter([0.2, 0.1, 0.1, 0.1, 0.3, 0.2, 0.2, 0.9])
    run = {"epochs": 9, "patience": 2, "validate": lambda: {"hr": next(figures)}, "monitor": "hr"}
    history = fit(counter(), batches([1]), stage=stage, unhurried=3, **run)
    assert [entry["hr"] for entry in history] == [0.2, 0.1, 0.1, 0.1, 0.3, 0.2, 0.2]


def test_patience_counts_passes_without_a_better_one(stage):
    figures = iter([0.1, 0.3, 0.2, 0.3, 0.9])
    history = fit(
        counter(), batches([1]), stage=stage, epochs=9, patience=2, validate=lambda: {"hr": next(figures)}, monitor="hr"
    )
    assert len(history) == 4  # equal to the best is not better


def test_without_validation_the_loss_decides(stage):
    model = counter()
    losses = [3.0, 1.0, 2.0, 2.0]
    history = fit(model, lambda index: batches([losses[index]]), stage=stage, epochs=4, patience=9)
    assert [entry["loss"] for entry in history] == losses
    assert float(model.w) == 2.0


def test_time_is_up_after_the_pass_that_goes_beyond_it(stage):
    assert len(fit(counter(), batches([1]), stage=stage, epochs=5, max_minutes=1e-9)) == 1


def test_the_loss_is_the_mean_over_the_pass(stage):
    (entry,) = fit(counter(), batches([1, 2, 6]), stage=stage, epochs=1)
    assert entry["loss"] == pytest.approx(3.0)


def test_keras_own_running_mean_is_not_averaged_again(stage):
    model = tf.keras.Sequential([tf.keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(tf.keras.optimizers.SGD(0.0), "mse")
    data = tf.data.Dataset.from_tensor_slices((np.ones([3, 1]), np.array([[1.0], [2.0], [3.0]]))).batch(1)
    (entry,) = fit(model, data, stage=stage, epochs=1)
    assert entry["loss"] == pytest.approx((1 + 4 + 9) / 3)


def test_average_by_hand_and_raw_weights_go_on(stage):
    model, seen = counter(), []
    fit(
        model,
        batches([1, 1, 1]),
        stage=stage,
        epochs=2,
        weight_average=0.9,
        validate=lambda: seen.append(float(model.w)) or {"ndcg@10": len(seen)},
    )
    average, expected = 1.0, []  # starts as w after the first step, w = 1
    for step, w in enumerate(range(1, 7)):
        keep = min(0.9, (1 + step) / (10 + step))
        average += (1 - keep) * (w - average)
        expected.append(average)
    np.testing.assert_allclose(seen, [expected[2], expected[5]], rtol=1e-6)
    assert float(model.w) == pytest.approx(expected[5])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_named_by_its_step(stage, bad):
    values = np.ones(250)
    values[136:] = bad

    def passes(index):
        return batches(np.ones(250) if index == 0 else values)

    with pytest.raises(ValueError, match=r"toy: expected a finite loss, got (nan|inf) at step 137 of pass 2; lower"):
        fit(counter(), passes, stage=stage, epochs=3)
    assert [p.name for p in stage.work.glob("pass-*")] == ["pass-0001"]


def test_weights_that_blow_up_in_the_last_step_are_noticed(stage):
    class Wild(Counter):
        def train_step(self, batch):
            self.w.assign(math.nan)
            return {"loss": tf.reduce_mean(batch)}

    model = Wild()
    model.compile("sgd")
    with pytest.raises(ValueError, match="expected finite weights, got others in w"):
        fit(model, batches([1]), stage=stage, epochs=1)
    assert not list(stage.work.iterdir())


@pytest.mark.parametrize("figures", [{}, {"ndcg@10": math.nan}])
def test_a_missing_figure_is_an_error(stage, figures):
    with pytest.raises(ValueError, match="finite 'ndcg@10'"):
        fit(counter(), batches([1]), stage=stage, epochs=1, validate=lambda: figures)


def test_a_step_without_a_loss_is_an_error(stage):
    class Mute(Counter):
        def train_step(self, batch):
            return {"cost": tf.reduce_mean(batch)}

    model = Mute()
    model.compile("sgd")
    with pytest.raises(ValueError, match="return 'loss', got \\['cost'\\]"):
        fit(model, batches([1]), stage=stage, epochs=1)


@pytest.mark.parametrize("known", [True, False])
def test_examples_are_counted(stage, known):
    data = batches(np.ones(10), size=4)
    if not known:
        data = data.filter(lambda x: True)
    (entry,) = fit(counter(), data, stage=stage, epochs=1)
    assert entry["examples_per_second"] * entry["seconds"] == pytest.approx(10)


def test_scalars(stage):
    fit(counter(), batches(np.ones(120)), stage=stage, epochs=2, validate=lambda: {"ndcg@10": 0.5})
    events = event_accumulator.EventAccumulator(str(stage.logs))
    events.Reload()
    tags = {"pass/loss", "pass/ndcg@10", "pass/seconds", "pass/examples_per_second", "step/loss"}
    assert set(events.Tags()["tensors"]) == tags
    assert [e.step for e in events.Tensors("pass/loss")] == [1, 2]
    assert [e.step for e in events.Tensors("step/loss")] == [100, 220]


def test_no_bar_where_nobody_watches(stage, capfd):
    fit(counter(), batches([1, 1]), stage=stage, epochs=2)
    assert "step/s" not in capfd.readouterr().err


def test_a_batch_may_be_any_structure(stage):
    class Nested(Counter):
        def train_step(self, batch):
            (a, pair), named = batch
            return super().train_step(a + pair[0] + named["b"])

    model = Nested()
    model.compile("sgd")
    one = np.ones(4, np.float32)
    data = tf.data.Dataset.from_tensor_slices(((one, (one, one)), {"b": one})).batch(2)
    (entry,) = fit(model, data, stage=stage, epochs=1)
    assert entry["loss"] == pytest.approx(3.0)


@pytest.mark.parametrize(("policy", "jit"), [("mixed_bfloat16", False), ("mixed_float16", True)])
def test_mixed_precision_and_xla_train(stage, policy, jit):
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        model = tf.keras.Sequential([tf.keras.layers.Dense(4, "tanh"), tf.keras.layers.Dense(1, dtype="float32")])
    finally:
        tf.keras.mixed_precision.set_global_policy(before)
    model.compile(tf.keras.optimizers.Adam(0.1), "mse", jit_compile=jit)
    x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    data = tf.data.Dataset.from_tensor_slices((x, 0.5 * x)).repeat(3).batch(8)
    history = fit(model, data, stage=stage, epochs=2, weight_average=0.5)
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]


def test_large_models_average_every_tenth_step(stage, monkeypatch):
    from tfrec_llm.training import averages

    monkeypatch.setattr(averages, "LARGE", 0)
    model, seen = counter(), []
    fit(
        model,
        batches(np.ones(20)),
        stage=stage,
        epochs=1,
        weight_average=0.998,
        validate=lambda: seen.append(float(model.w)) or {"ndcg@10": 1.0},
    )
    first = 1 + (1 - 1 / 10) * (10 - 1)  # at step 10 with w = 10
    assert seen == [pytest.approx(first + (1 - 11 / 20) * (20 - first))]


def test_the_stage_folder_is_not_touched(stage):
    fit(counter(), batches([1]), stage=stage, epochs=1)
    assert list(Path(stage.folder).iterdir()) == []
