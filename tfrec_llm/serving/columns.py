"""Rows of plain values <-> the columns that the signatures take and give. Imports no TensorFlow."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

WIDE = {"history": "", "history_event": "", "history_time": 0, "attributes": "", "exclude": ""}
STRINGS = ("item_ids", "because", "intent", "emotion", "sentiment", "model_version", "candidate_ids")
NUMBERS = ("scores", "propensities", "intent_probability", "emotion_probability")
HEARD = (*STRINGS, *NUMBERS, "context", "features")  # the outputs of `decide` that a server reads
Row = Mapping[str, Any]  # the fields of `server.asks.Ask`


def inputs_of(rows: Sequence[Row], widths: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The inputs of `decide` that rows bring themselves, B first.

    Args:
      rows: [B] fields of asks; lists that are too long lose their oldest values, short ones are padded on the right.
      widths: of the inputs in `WIDE`.
    """
    wide = {name: _padded([row[name] for row in rows], widths[name], empty) for name, empty in WIDE.items()}
    return wide | {
        "request_id": np.array([row["request_id"] for row in rows], object),
        "user_id": np.array([row["user_id"] for row in rows], object),
        "request_time": np.array([row["request_time"] for row in rows], np.int64),
        "k": np.array([row["k"] for row in rows], np.int32),
    }


def lists_of(outputs: Mapping[str, np.ndarray]) -> dict[str, list]:
    """Outputs of `decide` as lists by name, B first, bytes as text."""
    texts = {name: _decoded(outputs[name].tolist()) for name in STRINGS}
    return texts | {name: outputs[name].tolist() for name in NUMBERS}


def _padded(rows: Sequence[Sequence[Any]], width: int, empty: Any) -> np.ndarray:
    """[B, width]: the last that fit, padded on the right."""
    padded = np.full((len(rows), width), empty, np.int64 if empty == 0 else object)
    for place, values in enumerate(rows):
        kept = values[-width:]
        padded[place, : len(kept)] = kept
    return padded


def _decoded(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else [_decoded(v) for v in value]
