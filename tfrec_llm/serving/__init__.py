"""One tf.Module that answers requests, its export as a SavedModel, and the application server that asks it.

Names are loaded when they are first used, so that the application server does not import TensorFlow.
"""

import importlib
from typing import Any

_PLACES = {
    "Answer": "recommender",
    "Beside": "saved_model",
    "Recommender": "recommender",
    "Request": "recommender",
    "SignalPath": "signals",
    "Signals": "signals",
    "export": "saved_model",
    "export_run": "exporting",
    "is_exported": "exporting",
    "export_policy": "saved_model",
    "golden_rows": "golden",
    "load_recommender": "compose",
    "read_policy": "bundle",
    "load_signal_path": "compose",
    "load_unblended": "compose",
    "typical_rows": "reference",
    "newest_version": "versions",
    "one_writer": "versions",
    "served_version": "versions",
}

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
