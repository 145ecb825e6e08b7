"""Decides whether the replay is compiled by XLA, by measuring where that is not clear beforehand."""

import logging
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfrec_llm import config
from tfrec_llm.ranking.agents.registry import Agent
from tfrec_llm.ranking.replay import Logged, Showing, replay_function

_log = logging.getLogger(__name__)
_SHORT = 20.0  # seconds of training in all that no compilation can pay for itself in


def choose_xla(build: Callable[[], Agent], rows: Logged, showing: Showing, settings: config.Train, epochs: int) -> bool:
    """Whether to compile: as the config says, else yes on a GPU, else as measured.

    Args:
      build: makes agents to measure with.
      rows: what will be replayed.
      showing: how slates are filled.
      settings: the section `train`.
      epochs: passes at most.

    Returns:
      The value for `jit_compile`.
    """
    if settings.xla != "auto":
        return settings.xla == "on"
    if tf.config.list_physical_devices("GPU"):
        return True
    plain = epochs * _seconds(build(), rows, showing, jit_compile=False)
    if plain < _SHORT:
        _log.info("ranking: all passes take about %.1f s without XLA; not compiled", plain)
        return False
    compiled = epochs * _seconds(build(), rows, showing, jit_compile=True)
    _log.info("ranking: all passes take about %.0f s without XLA, %.0f s with it", plain, compiled)
    return compiled < plain


def _seconds(agent: Agent, rows: Logged, showing: Showing, jit_compile: bool) -> float:
    """Seconds of one pass after the first, estimated from a tenth of one."""
    count = rows.reward.shape[0]
    size = min(showing.batch_size, count)
    steps = max(count // size // 10, 1)
    order = tf.constant(np.arange(steps * size, dtype=np.int32).reshape(steps, size))
    numbers = tf.random.stateless_uniform([steps, size, showing.slate], [0, 0])
    replay = replay_function(agent, rows, showing, jit_compile)
    replay(order, numbers)
    begin = time.perf_counter()
    replay(order, numbers)
    return (time.perf_counter() - begin) * (count // size) / steps
