"""What a run was made with: the part of metrics.json that lets somebody else make it again."""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import tensorflow as tf

PACKAGES = (
    "tfrec-llm", "tensorflow", "tf-keras", "tensorflow-text", "transformers", "tf-agents", "tensorflow-recommenders",
    "numpy", "scipy", "pandas",
)  # fmt: skip


def run_info(seed: int) -> dict[str, Any]:
    """Versions, seed, device and threads of this process, as the "run" of metrics.json."""
    return {
        "versions": {"python": platform.python_version(), **_versions()},
        "seed": int(seed),
        "device": device_name(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "threads": {
            "intra_op": tf.config.threading.get_intra_op_parallelism_threads(),  # 0: TensorFlow chooses
            "inter_op": tf.config.threading.get_inter_op_parallelism_threads(),
        },
    }


def device_name() -> str:
    """The names of the GPUs that TensorFlow sees, else the model of the CPU."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        return ", ".join(tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus)
    return _cpu_model()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
