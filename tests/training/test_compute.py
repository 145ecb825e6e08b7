"""Precision and XLA: configured, ruled or measured; a candidate that fails is not taken."""

import json
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.config import Train
from tfrec_llm.training import Compute, choose_compute, compute, precision


class Batch(NamedTuple):
    x: object
    y: object


class Regression(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = tf.keras.layers.Dense(1)

    def train_step(self, batch):
        with tf.GradientTape() as tape:
            error = tf.cast(self.dense(batch.x), tf.float32) - batch.y
            loss = tf.reduce_mean(tf.square(error))
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        return {"loss": loss}


class Clock:
    """A time that passes only in the steps of a `Fake` model."""

    now = 0.0


class Fake:
    """What `choose_compute` sees of a model; steps take what the test says, in the time of the clock."""

    def __init__(self, label, seconds, first=0.0, broken=(), wild=()):
        self.label, self.seconds, self.first, self.broken, self.wild = label, seconds, first, broken, wild
        self.steps = 0

    def make_train_function(self):
        def step(batches):
            assert next(batches).x.shape[1] == 3
            if self.label in self.broken:
                raise RuntimeError("no kernel for this\nand a long trace")
            Clock.now += self.seconds.get(self.label, 1.0) + (self.first if self.steps == 0 else 0.0)
            self.steps += 1
            return {"loss": np.nan if self.label in self.wild else 1.0}

        return step


BATCH = Batch(np.ones([4, 3], np.float32), np.ones([4, 1], np.float32))


@pytest.fixture(autouse=True)
def _fake_clock(monkeypatch):
    monkeypatch.setattr(compute.time, "perf_counter", lambda: Clock.now)
    monkeypatch.setattr(compute.gc, "collect", lambda: 0)  # nothing large is made here, and it takes half a second


def builder(made=None, seconds=None, **how):
    def build(choice):
        model = Fake(choice.label, seconds or {}, **how)
        if made is not None:
            made.append((model, tf.keras.mixed_precision.global_policy().name))
        return model

    return build


@pytest.mark.parametrize(("setting", "jit"), [("on", True), ("off", False)])
def test_what_is_configured_is_not_measured(tmp_path, setting, jit):
    made = []
    settings = Train(precision="mixed_bfloat16", xla=setting)
    choice = choose_compute(builder(made), BATCH, settings, stage="toy", cache=tmp_path)
    assert (choice.precision, choice.jit_compile, made) == ("mixed_bfloat16", jit, [])
    assert not list(tmp_path.iterdir())


def test_the_fastest_is_taken_logged_and_kept(tmp_path, caplog):
    caplog.set_level("INFO")
    made = []
    seconds = {"float32": 0.5, "mixed_bfloat16": 0.25, "mixed_bfloat16 xla": 1.0}
    build = builder(made, seconds)
    choice = choose_compute(build, BATCH, Train(), stage="toy", cache=tmp_path)
    assert (choice.precision, choice.jit_compile) == ("mixed_bfloat16", False)
    assert choice.seconds == seconds
    assert [(model.label, policy) for model, policy in made] == [(label, label.split()[0]) for label in seconds]
    assert min(model.steps for model, _ in made[:2]) >= 4  # one that compiles and three warm ones
    (line,) = [r.message for r in caplog.records if "per step" in r.message]
    assert line == (
        "toy: seconds per step | float32 500.0 ms  mixed_bfloat16 250.0 ms  mixed_bfloat16 xla 1000.0 ms | "
        "-> mixed_bfloat16 (fastest of those measured)"
    )
    again = choose_compute(build, BATCH, Train(), stage="toy", cache=tmp_path)
    assert len(made) == 3
    assert again == choice


@pytest.mark.parametrize(("xla", "expected"), [(0.5, "float32 xla"), (0.96, "float32"), (2.0, "float32")])
def test_xla_is_taken_where_it_is_clearly_faster(tmp_path, xla, expected):
    seconds = {"float32": 1.0, "mixed_bfloat16": 1.5, "float32 xla": xla}
    assert choose_compute(builder(None, seconds), BATCH, Train(), stage="toy", cache=tmp_path).label == expected


def test_a_real_model_is_measured(tmp_path, monkeypatch):
    monkeypatch.undo()  # real time

    def build(choice):
        model = Regression()
        model.compile("sgd", jit_compile=choice.jit_compile)
        return model

    choice = choose_compute(build, BATCH, Train(), stage="toy", cache=tmp_path)
    assert choice.precision in ("float32", "mixed_bfloat16")
    assert {"float32", "mixed_bfloat16"} < choice.seconds.keys()
    assert all(s > 0 for s in choice.seconds.values())


def test_only_what_is_auto_is_measured(tmp_path):
    made = []
    choose_compute(builder(made), BATCH, Train(precision="float32"), stage="a", cache=tmp_path)
    choose_compute(builder(made), BATCH, Train(xla="off"), stage="a", cache=tmp_path)
    labels = [model.label for model, _ in made]
    assert labels == ["float32", "float32 xla", "float32", "mixed_bfloat16"]


def test_another_batch_stage_or_setting_is_measured_anew(tmp_path):
    made = []
    settings = Train(precision="float32")
    for stage, rows in (("a", 4), ("b", 4), ("a", 2), ("a", 4)):
        batch = Batch(BATCH.x[:rows], BATCH.y[:rows])
        choose_compute(builder(made), batch, settings, stage=stage, cache=tmp_path)
    assert len(made) == 6


@pytest.mark.parametrize("how", ["broken", "wild"])
def test_a_candidate_that_fails_is_not_taken(tmp_path, caplog, how):
    caplog.set_level("INFO")
    bad = {how: ("mixed_bfloat16", "float32 xla")}
    choice = choose_compute(builder(**bad), BATCH, Train(), stage="toy", cache=tmp_path)
    assert choice.label == "float32"
    assert list(choice.seconds) == ["float32"]
    lines = [r.message for r in caplog.records if "is not taken" in r.message]
    assert len(lines) == 2
    assert not any("long trace" in line for line in lines)


def test_a_step_that_never_works_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="no kernel"):
        choose_compute(builder(broken=("float32",)), BATCH, Train(), stage="toy", cache=tmp_path)


def test_a_long_compilation_is_not_taken(tmp_path):
    build = builder(None, {"float32 xla": 0.1}, first=61.0)
    choice = choose_compute(build, BATCH, Train(precision="float32"), stage="toy", cache=tmp_path)
    assert choice.label == "float32"
    assert "float32 xla" not in choice.seconds


def test_a_hopeless_candidate_is_given_up_after_one_warm_step(tmp_path):
    made = []
    build = builder(made, {"float32": 1.0, "float32 xla": 10.0})
    choice = choose_compute(build, BATCH, Train(precision="float32"), stage="toy", cache=tmp_path)
    assert choice.label == "float32"
    assert made[1][0].steps == 2


@pytest.mark.parametrize("content", ["{", '{"choice": {"nonsense": 1}}', "{}"])
def test_a_damaged_answer_is_measured_again(tmp_path, content):
    settings = Train(precision="float32")
    choose_compute(builder(), BATCH, settings, stage="toy", cache=tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_text(content)
    made = []
    choose_compute(builder(made), BATCH, settings, stage="toy", cache=tmp_path)
    assert made
    assert json.loads(path.read_text())["choice"]["precision"] == "float32"


def test_the_cache_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TFREC_LLM_CACHE", str(tmp_path))
    choose_compute(builder(), BATCH, Train(precision="float32"), stage="toy")
    assert len(list((tmp_path / "compute").iterdir())) == 1


def test_precision_is_put_back_even_after_an_error():
    before = tf.keras.mixed_precision.global_policy().name

    def fail():
        with precision(Compute("mixed_bfloat16", False)):
            assert tf.keras.layers.Dense(1).compute_dtype == "bfloat16"
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert tf.keras.mixed_precision.global_policy().name == before


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [([(9, 0)], "mixed_bfloat16"), ([(8, 0), (7, 5)], "mixed_float16"), ([(6, 1)], "float32"), ([None], "float32")],
)
def test_rule_for_gpus(monkeypatch, capabilities, expected):
    details = {f"gpu{i}": {"compute_capability": c} if c else {} for i, c in enumerate(capabilities)}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: list(details))
    monkeypatch.setattr(tf.config.experimental, "get_device_details", details.__getitem__)
    choice = choose_compute(builder(broken=("float32",)), BATCH, Train(), stage="toy")
    assert (choice.precision, choice.jit_compile) == (expected, True)
    assert choose_compute(builder(), BATCH, Train(xla="off"), stage="toy").jit_compile is False
    assert choose_compute(builder(), BATCH, Train(precision="float32"), stage="toy").label == "float32 xla"


def test_xla_gives_the_same_losses():
    def losses(jit):
        tf.keras.utils.set_random_seed(3)
        model = Regression()
        model.compile(tf.keras.optimizers.Adam(0.1), jit_compile=jit)
        data = tf.data.Dataset.from_tensors(BATCH).repeat(5)
        step, batches = model.make_train_function(), iter(data)
        return [float(step(batches)["loss"]) for _ in range(5)]

    plain = losses(False)
    assert plain[-1] < plain[0]
    np.testing.assert_allclose(losses(True), plain, rtol=1e-4)
