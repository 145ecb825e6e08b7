"""Chooses Keras 2 before TensorFlow is touched: TF-Agents and TFRS need it.

`tf.keras` becomes `tf_keras` only where the variable is set before `tf.keras` is first looked at; set later it is
silently ignored and TF-Agents fails in strange places, so the guard looks at the class, not at the variable. What
libraries say on every start, and nobody here can act on, is not said.
"""

import importlib
import os
import sys
from contextlib import suppress
from pathlib import Path

DRIVER = Path("/proc/driver/nvidia")  # there where a GPU could be had


def use_keras_2() -> None:
    """Makes `tf.keras` mean Keras 2 for this process.

    Raises:
      ImportError: TensorFlow was imported earlier and its `tf.keras` is already Keras 3.
    """
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None or ("tensorflow.keras" not in sys.modules and "keras" not in sys.modules):
        return
    module = tensorflow.keras.Model.__module__
    if not module.startswith("tf_keras"):
        raise ImportError(
            f"expected tf.keras to be Keras 2 (tf_keras), got {module}: import tfrec_llm before tensorflow, "
            "or set TF_USE_LEGACY_KERAS=1 in the environment."
        )


def keep_quiet() -> None:
    """Silences TensorFlow's C++ library, which without a GPU calls that an error, and Gym, which TF-Agents imports."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if DRIVER.exists() else "3")
    with suppress(ImportError):  # Gym says that it is unmaintained
        importlib.import_module("gym_notices.notices").notices.clear()
