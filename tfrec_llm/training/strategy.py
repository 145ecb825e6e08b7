"""Devices and threads, by config."""

import logging
import os
from pathlib import Path

import tensorflow as tf

from tfrec_llm.config import Train

_log = logging.getLogger(__name__)


def make_strategy(settings: Train) -> tf.distribute.Strategy:
    """The distribution strategy that models are built and trained under.

    Args:
      settings: `strategy` auto mirrors over several GPUs and leaves one device alone; mirrored mirrors over all GPUs,
        or over the logical CPUs where there is no GPU; multi_worker_mirrored reads TF_CONFIG.

    Returns:
      A strategy; its `scope()` must surround the building of a model.

    Raises:
      ValueError: multi_worker_mirrored without TF_CONFIG.
    """
    gpus = tf.config.list_logical_devices("GPU")
    if settings.strategy == "multi_worker_mirrored":
        if not os.environ.get("TF_CONFIG"):
            raise ValueError(
                "train.strategy: multi_worker_mirrored expects the environment variable TF_CONFIG (cluster and task "
                "of this worker), got none; set it on every worker or use train.strategy=auto."
            )
        return tf.distribute.MultiWorkerMirroredStrategy()
    if settings.strategy == "mirrored" or (settings.strategy == "auto" and len(gpus) > 1):
        devices = [device.name for device in gpus or tf.config.list_logical_devices("CPU")]
        _log.info("mirrored over %s", ", ".join(devices))
        return tf.distribute.MirroredStrategy(devices)
    return tf.distribute.get_strategy()


def set_threads(settings: Train) -> None:
    """Sets TensorFlow's threads; must run before TensorFlow does anything, else it logs a warning and changes nothing.

    Args:
      settings: `threads`, 0 = the cores that this process may use.
    """
    count = settings.threads or available_cores()
    threading = tf.config.threading
    try:
        threading.set_intra_op_parallelism_threads(count)
        threading.set_inter_op_parallelism_threads(max(2, count))  # one alone can wait for itself in collectives
    except RuntimeError:
        _log.warning(
            "threads stay as they are (intra-op %s): TensorFlow is running already; set_threads must come first",
            threading.get_intra_op_parallelism_threads() or "its default",
        )


def available_cores() -> int:
    """Cores that this process may use: its affinity, cut by the container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(cores, round(int(quota) / int(period))))
    except (OSError, ValueError):
        return cores
