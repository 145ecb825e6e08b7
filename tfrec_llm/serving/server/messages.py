"""The messages of TensorFlow Serving, without TensorFlow.

The package `tensorflow_serving` imports `tensorflow` for the sake of a few generated modules, which need none of it:
all of TensorFlow would be in the server's process (600 MB, seconds to start) for nothing.
"""

import importlib.util
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

_STRING = 7  # DataType of tensorflow/core/framework/types.proto
_TYPES = {1: np.float32, 2: np.float64, 3: np.int32, 9: np.int64, 10: np.bool_}
_NUMBERS = {np.dtype(kind): number for number, kind in _TYPES.items()}
_FIELDS = {1: "float_val", 2: "double_val", 3: "int_val", 9: "int64_val", 10: "bool_val"}


@cache
def load() -> SimpleNamespace:
    """`predict`, `metadata` and `service`: the generated modules."""
    with _unexecuted("tensorflow"):
        from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc
    return SimpleNamespace(predict=predict_pb2, metadata=get_model_metadata_pb2, service=prediction_service_pb2_grpc)


def fill(tensor: Any, values: np.ndarray) -> None:
    """Writes an array into an empty TensorProto; arrays of objects are texts."""
    for size in values.shape:
        tensor.tensor_shape.dim.add().size = size
    if values.dtype == object:
        tensor.dtype = _STRING
        tensor.string_val.extend(text.encode("utf-8") for text in values.ravel())
        return
    tensor.dtype = _NUMBERS[values.dtype]
    tensor.tensor_content = np.ascontiguousarray(values).tobytes()


def array(tensor: Any) -> np.ndarray:
    """A TensorProto as an array; strings are bytes.

    Raises:
      ValueError: a type that none of our signatures has, or more values than its shape says.
    """
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.dtype == _STRING:
        values = np.empty(len(tensor.string_val), object)
        values[:] = tensor.string_val
    elif tensor.dtype not in _TYPES:
        raise ValueError(f"expected a tensor of texts or numbers, got type {tensor.dtype} of types.proto.")
    elif tensor.tensor_content:
        values = np.frombuffer(tensor.tensor_content, _TYPES[tensor.dtype])
    else:
        values = np.array(getattr(tensor, _FIELDS[tensor.dtype]), _TYPES[tensor.dtype])
    left = math.prod(shape) - len(values)
    if left > 0:  # the last value stands for those that follow
        last = values[-1:] if len(values) else np.zeros(1, values.dtype)
        values = np.concatenate([values, np.repeat(last, left)])
    return values.reshape(shape)


@contextmanager
def _unexecuted(package: str) -> Iterator[None]:
    """While it lasts, modules of a package can be imported without the package's own `__init__`."""
    if package in sys.modules:
        yield
        return
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(f"expected the package {package}, found none; run `make setup`.", name=package)
    sys.modules[package] = importlib.util.module_from_spec(spec)
    try:
        yield
    finally:
        del sys.modules[package]
