"""One hash for everything that a result depends on."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def fingerprint(value: Any) -> str:
    """SHA-256 of a value's canonical JSON: equal values give equal hashes in every process.

    Args:
      value: dataclasses, mappings, sequences, sets, arrays, paths and plain values, nested at will.

    Raises:
      ValueError: something in it has no canonical form.
    """
    text = json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, bytes):
        return {"bytes": hashlib.sha256(value).hexdigest()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(v) for v in value), key=repr)
    raise ValueError(
        f"expected settings, hashes, arrays or plain values as inputs of a stage, got {type(value).__name__}; "
        "pass what identifies it instead."
    )


def _array(value: np.ndarray) -> dict[str, Any]:
    content = value.tolist() if value.dtype.hasobject or value.dtype.kind in "US" else None
    data = json.dumps(content).encode() if content is not None else np.ascontiguousarray(value).tobytes()
    return {"shape": list(value.shape), "dtype": value.dtype.kind, "sha256": hashlib.sha256(data).hexdigest()}
