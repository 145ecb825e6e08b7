"""Frames between server and worker."""

import asyncio
import io

import numpy as np
import pytest

from tfrec_llm.serving.server import wire

HEAD = {"rows": ["手机", -float("inf"), None]}
ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "none": np.zeros((2, 0), np.float16), "b": np.array([7])}


def check(frame):
    head, arrays = frame
    assert head == HEAD
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_what_is_packed_is_read_again():
    stream = io.BytesIO(wire.pack(HEAD, ARRAYS) * 2)
    check(wire.receive(stream))
    check(wire.receive(stream))
    assert wire.receive(stream) is None


def test_the_server_reads_the_same_and_notices_the_end():
    async def scenario():
        reader = asyncio.StreamReader()
        frame = wire.pack(HEAD, ARRAYS)
        reader.feed_data(frame + frame[:10])
        reader.feed_eof()
        check(await wire.read(reader))
        with pytest.raises(EOFError):
            await wire.read(reader)

    asyncio.run(scenario())
