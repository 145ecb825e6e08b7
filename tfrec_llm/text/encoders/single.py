"""The engine for texts one by one: eight-bit weights where they are as good as the encoder's own."""

import logging
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfrec_llm.text.encoders.encoder import TextEncoder
from tfrec_llm.text.encoders.engine import Engine, make_engine

log = logging.getLogger(__name__)
LEAST = 0.998  # cosine to the encoder in float32
PROBES = (  # the shortest texts suffer most
    "?",
    "!!!",
    "ok",
    "no",
    "手机",
    "便宜的大屏电视，两千元以下",
    "something funny for tonight",
    "I would like to compare these two before I buy one of them",
)


def make_single(
    encoder: TextEncoder,
    name: str,
    dtype: tf.DType,
    threads: int,
    least_cosine: Callable[[Engine], float] | None,
) -> Engine:
    """An engine for single texts.

    Args:
      encoder: as of `make_engine`.
      name: as of `make_engine`.
      dtype: what the products are computed in where eight bits are not wanted, or not good enough.
      threads: as of `make_engine`.
      least_cosine: the least cosine of an engine's vectors of `PROBES` to those of the encoder in float32; None = eight
        bits are not wanted.

    Raises:
      ValueError: as of `make_engine`.
    """
    if least_cosine is not None:
        engine = make_engine(encoder, name, dtype, threads, one_by_one=True, rounded=True)
        if engine.name != "openvino" or (found := least_cosine(engine)) >= LEAST:
            return engine
        log.info("weights in eight bits: cosine to float32 down to %.4f (%.3f is asked): %s", found, LEAST, dtype.name)
    return make_engine(encoder, name, dtype, threads, one_by_one=True)


def least_cosine(ours: np.ndarray, exact: np.ndarray) -> float:
    """The least cosine between rows of unit length, [n, D] both."""
    return float(np.sum(ours * exact, axis=1).min())
