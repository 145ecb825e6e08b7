"""Utterance -> TextSignals; item text -> item vectors. Public names of the text stage.

Names are loaded when they are first used, so that the model's process of a server does not import what trains.
"""

import importlib
from typing import Any

_PLACES = {
    "ENCODERS": "encoders.registry",
    "FINETUNING": "finetuning",
    "TextEncoder": "encoders.encoder",
    "TextModel": "model",
    "check_members": "learning",
    "encode_texts": "encoders.bulk",
    "item_vectors": "items",
    "load": "model",
    "load_item_vectors": "model",
    "load_language_axes": "model",
    "outside_files": "outside",
    "train": "stage",
    "with_later": "later",
}

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
