"""Signals of all modalities -> context: what the ranker knows of the moment."""

import importlib
from typing import Any

_HOMES = {
    "FUSIONS": "fusions",
    "NETWORKS": "images",
    "build_fusion": "fusions",
    "contexts": "stage",
    "encode_images": "images",
    "load": "stage",
    "train": "stage",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
