"""The application server: HTTP in front, the event log behind, the model in a process of its own.

Names are loaded when they are first used, so that the model's process does not import what answers over HTTP.
"""

import importlib
from typing import Any

_PLACES = {"Parts": "parts", "compose": "parts", "make_app": "app", "run_server": "app", "serve": "app"}

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
