"""Two devices learn what one learns; threads are set before TensorFlow runs, or not at all."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.config import Train
from tfrec_llm.training import Stage, fit, make_strategy, set_threads
from tfrec_llm.training.strategy import available_cores


def train(folder, strategy):
    """Losses, average and final weights of a small regression under a strategy; batches of 8 over two devices."""
    stage = Stage("toy", *(folder / name for name in ("result", "work", "logs")))
    for path in stage[1:]:
        path.mkdir(parents=True, exist_ok=True)
    x = np.random.default_rng(0).normal(size=[32, 3]).astype(np.float32)
    data = tf.data.Dataset.from_tensor_slices((x, x[:, :1] - x[:, 1:2])).batch(8)
    tf.keras.utils.set_random_seed(5)
    with strategy.scope():
        model = tf.keras.Sequential([tf.keras.layers.Dense(4, "tanh"), tf.keras.layers.Dense(1)])
        model.build([None, 3])
        model.compile(tf.keras.optimizers.Adam(0.05), "mse")
    seen = []

    def validate():
        seen.append(float(tf.reduce_sum(model.layers[0].kernel)))
        return {"ndcg@10": len(seen)}

    fit(model, data, stage=stage, epochs=2, weight_average=0.9, validate=validate)  # killed after two passes, say
    history = fit(model, data, stage=stage, epochs=3, weight_average=0.9, validate=validate)
    return {
        "replicas": strategy.num_replicas_in_sync,
        "losses": [entry["loss"] for entry in history],
        "averages": seen,
        "weights": [w.numpy().tolist() for w in model.trainable_weights],
    }


MIRRORED = f"""
import json, pathlib, runpy, sys
names = runpy.run_path({__file__!r})
tf, Train = names["tf"], names["Train"]
names["set_threads"](Train(threads=2))
threads = [tf.config.threading.get_intra_op_parallelism_threads()]
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
result = names["train"](pathlib.Path(sys.argv[1]), names["make_strategy"](Train(strategy="mirrored")))
print(json.dumps({{**result, "threads": threads}}))
"""


def test_two_devices_learn_what_one_learns(tmp_path):
    command = [sys.executable, "-c", MIRRORED, str(tmp_path / "two")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    two = json.loads(done.stdout.splitlines()[-1])
    one = train(tmp_path / "one", make_strategy(Train()))
    assert (one["replicas"], two["replicas"], two["threads"]) == (1, 2, [2])
    assert len(two["losses"]) == 3
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-4)
    np.testing.assert_allclose(two["averages"], one["averages"], rtol=1e-4, atol=1e-5)
    for ours, expected in zip(two["weights"], one["weights"], strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["auto", "none"])
def test_one_device_is_left_alone(name):
    assert make_strategy(Train(strategy=name)) is tf.distribute.get_strategy()


def test_several_gpus_are_mirrored_by_default(monkeypatch):
    made = []
    devices = [tf.config.LogicalDevice("/device:GPU:0", "GPU"), tf.config.LogicalDevice("/device:GPU:1", "GPU")]
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: devices if kind == "GPU" else [])
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda names: made.append(names))
    make_strategy(Train())
    assert made == [["/device:GPU:0", "/device:GPU:1"]]


def test_several_workers_need_their_cluster(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="TF_CONFIG"):
        make_strategy(Train(strategy="multi_worker_mirrored"))


def test_threads_set_too_late_are_a_warning(caplog):
    tf.zeros([]).numpy()  # TensorFlow is running now
    set_threads(Train(threads=available_cores() + 5))
    assert "set_threads must come first" in caplog.text


def test_cores_are_those_that_this_process_may_use():
    assert available_cores() >= 1
