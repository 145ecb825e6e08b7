"""Frames between the server and its model worker: a head in JSON and the arrays that it names, as raw bytes."""

import asyncio
import json
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

_SIZES = struct.Struct("<II")  # bytes of the head, bytes of the arrays
Frame = tuple[dict[str, Any], dict[str, np.ndarray]]


def pack(head: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> bytes:
    """A frame: sizes, head, arrays."""
    arrays = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    shapes = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    text = json.dumps({**head, "arrays": shapes}).encode()
    body = b"".join(array.tobytes() for array in arrays.values())
    return _SIZES.pack(len(text), len(body)) + text + body


def unpack(text: bytes, body: bytes) -> Frame:
    """Head and arrays of a frame whose sizes have been read."""
    head, arrays, start = json.loads(text), {}, 0
    for name, dtype, shape in head.pop("arrays"):
        count = int(np.prod(shape))
        arrays[name] = np.frombuffer(body, dtype, count, start).reshape(shape)
        start += arrays[name].nbytes
    return head, arrays


async def read(reader: asyncio.StreamReader) -> Frame:
    """The next frame.

    Raises:
      EOFError: the other side is gone.
    """
    try:
        head, body = _SIZES.unpack(await reader.readexactly(_SIZES.size))
        return unpack(await reader.readexactly(head), await reader.readexactly(body))
    except (asyncio.IncompleteReadError, OSError) as error:
        raise EOFError("the model worker is gone") from error


def receive(stream: BinaryIO) -> Frame | None:
    """The next frame of a blocking stream, None where the other side has closed it."""
    sizes = stream.read(_SIZES.size)
    if len(sizes) < _SIZES.size:
        return None
    head, body = _SIZES.unpack(sizes)
    return unpack(stream.read(head), stream.read(body))
