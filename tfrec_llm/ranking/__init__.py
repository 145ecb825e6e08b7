"""Context and candidates -> slate: agents, exploration, rewards, replay, worlds to try agents in.

The names below are loaded when they are first asked for, so that the sampler and the rewards work without TF-Agents.
"""

import importlib
from typing import Any

_HOMES = {
    "AGENTS": "agents.registry",
    "build_agent": "agents.registry",
    "fill_slate": "exploration",
    "uniforms": "exploration",
    "event_values": "rewards",
    "satisfaction": "rewards",
    "check_rewards": "rewards",
    "train": "stage",
    "load": "stage",
    "WORLDS": "worlds.environments",
    "SESSION_WORLDS": "worlds.simulation",
    "simulate": "worlds.simulation",
    "simulate_agent": "worlds.simulation",
    "slate_feedback": "replay",
    "logged_function": "logged",
    "logged_probabilities": "logged",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
