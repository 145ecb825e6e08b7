"""A training killed in any pass, or while it writes a checkpoint, ends as if nothing had happened.

`train` is run here for what is not killed, and by a process of its own (which runs this file) for what is.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.training import Stage, checkpoints, fit
from tfrec_llm.training.weights import named_variables

X = np.random.default_rng(0).normal(size=[48, 4]).astype(np.float32)
Y = np.tanh(X[:, :1] - X[:, 1:2] * X[:, 2:3])


class Network(tf.keras.Model):
    """Drops inputs by a stateless mask keyed by the optimizer's step: the same before and after a kill."""

    def __init__(self):
        super().__init__()
        self.hidden, self.out = tf.keras.layers.Dense(6, "tanh"), tf.keras.layers.Dense(1)

    def call(self, x):
        return self.out(self.hidden(x))

    def train_step(self, batch):
        x, y = batch
        seed = tf.stack([tf.cast(self.optimizer.iterations, tf.int32), 7])
        x = x * tf.cast(tf.random.stateless_uniform(tf.shape(x), seed) > 0.1, tf.float32)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x) - y))
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        return {"loss": loss}


def train(folder, epochs=4, die_at_step=None, die_at_rename=None):
    """Trains; the process kills itself at a (pass, step) or at the nth rename, which ends a checkpoint."""
    folder = Path(folder)
    stage = Stage("toy", folder / "result", folder / "work", folder / "logs")
    for path in stage[1:]:
        path.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(5)
    model = Network()
    model.compile(tf.keras.optimizers.Adam(0.02))
    passes, renames, real = [], [], os.rename

    def kill():
        os.kill(os.getpid(), signal.SIGKILL)

    def batches(index):
        passes.append(index)
        order = np.random.default_rng([3, index]).permutation(len(X))
        data = tf.data.Dataset.from_tensor_slices((X[order], Y[order])).batch(8)
        if die_at_step and index == die_at_step[0]:
            whole = data
            data = tf.data.Dataset.from_generator(lambda: dying(whole), output_signature=whole.element_spec)
        return data

    def dying(data):
        yield from data.take(die_at_step[1])
        kill()

    def rename(*paths):
        renames.append(paths)
        if len(renames) == die_at_rename:
            kill()
        real(*paths)

    os.rename = rename
    try:
        history = fit(
            model,
            batches,
            stage=stage,
            epochs=epochs,
            weight_average=0.9,
            seed=3,
            patience=9,
            validate=lambda: {"ndcg@10": 1.0 / (1.0 + float(tf.reduce_mean(tf.square(model(X) - Y))))},
        )
    finally:
        os.rename = real
    return model, history, passes


def killed(folder, **how):
    command = f"import runpy; runpy.run_path({__file__!r})['train']({str(folder)!r}, **{how!r})"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole"))


def check(folder, whole, first_pass):
    model, history, passes = train(folder)
    assert set(passes) - {0} == set(range(first_pass, 4)) - {0}
    keys = ("pass", "loss", "ndcg@10")
    for ours, expected in zip(history, whole[1], strict=True):
        np.testing.assert_allclose([ours[k] for k in keys], [expected[k] for k in keys], rtol=1e-5)
    for name, variable in named_variables(whole[0]).items():
        np.testing.assert_allclose(named_variables(model)[name], variable, atol=1e-5)


def test_killed_in_a_pass(tmp_path, whole):
    killed(tmp_path, die_at_step=(1, 3))
    assert checkpoints.latest(tmp_path / "work").done == 1
    check(tmp_path, whole, first_pass=1)


def test_killed_while_a_checkpoint_is_written(tmp_path, whole):
    killed(tmp_path, die_at_rename=3)
    assert checkpoints.latest(tmp_path / "work").done == 2
    assert (tmp_path / "work" / "pass.partial").exists()
    check(tmp_path, whole, first_pass=2)


def test_finished_before_the_kill_nothing_is_trained_again(tmp_path, whole):
    train(tmp_path)
    check(tmp_path, whole, first_pass=4)


def test_a_built_model_goes_on_after_a_nan(tmp_path):
    # not a kill: the same call again after an error that kept its checkpoints
    train(tmp_path, epochs=2)
    model, history, passes = train(tmp_path, epochs=3)
    assert [entry["pass"] for entry in history] == [1, 2, 3]
    assert set(passes) == {0, 2}
    assert len(model.weights) == 4


def test_patience_is_remembered(tmp_path):
    state = checkpoints.State(done=3, best=0.5, best_pass=1, seconds=60.0, history=[{}, {}, {}])
    assert state.finished(checkpoints.Limits(epochs=9, patience=2, max_minutes=0))
    assert not state.finished(checkpoints.Limits(epochs=9, patience=3, max_minutes=0))
    assert state.finished(checkpoints.Limits(epochs=9, patience=3, max_minutes=1.0))
    assert state.after(0.5, {}, 1.0).best_pass == 1
    assert state.after(0.6, {}, 1.0).best_pass == 4


def test_old_checkpoints_go(tmp_path):
    train(tmp_path)
    names = sorted(p.name for p in (tmp_path / "work").iterdir())
    assert names == ["best-0004.npz", "pass-0004"]


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    train(tmp_path, epochs=1)
    stage = Stage("toy", tmp_path / "result", tmp_path / "work", tmp_path / "logs")
    model = tf.keras.Sequential([tf.keras.layers.Dense(3), tf.keras.layers.Dense(1)])
    model.compile("adam", "mse")
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)
    with pytest.raises(ValueError, match="expected a checkpoint of this model"):
        fit(model, data, stage=stage, epochs=2)


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path):
    train(tmp_path / "a", epochs=1)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    command = (
        "import resource, runpy, sys\n"
        f"train = runpy.run_path({__file__!r})['train']\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))\n"
        f"train({str(tmp_path / 'b')!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr
    assert "File too large" in done.stderr
    assert checkpoints.latest(tmp_path / "b" / "work").done == 1
