"""Byte-level BPE of GPT-2 and RoBERTa, through `transformers`: outside the graph, so for training and item vectors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from transformers import GPT2TokenizerFast
from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

LONGEST = 128  # characters of the longest token: runs of spaces and of dashes are single tokens
BYTES = {character: byte for byte, character in bytes_to_unicode().items()}
OBSTACLE = (
    "byte-level BPE has no TensorFlow operation, so this tokenizer cannot be in a SavedModel; everything that was "
    'trained is kept. To serve, set text.encoder to "e5_small", "minilm", or "bert" with a checkpoint that has a '
    "vocab.txt or a sentencepiece.bpe.model, and train again"
)


class ByteLevel:
    """Strings to ids through Python.

    Args:
      tokenizer: of `transformers`.
      edge: ids that begin and end a text.
      pad: id of padding.
    """

    export_obstacle = OBSTACLE

    def __init__(self, tokenizer: GPT2TokenizerFast, edge: tuple[int, int], pad: int):
        self._tokenizer, self._edge, self._pad = tokenizer, edge, pad
        words = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
        special = set(tokenizer.all_special_ids)
        self.pieces = np.array(["▁" if i in special else _text(word) for i, word in enumerate(words)], object)

    @classmethod
    def read(cls, folder: Path) -> "ByteLevel":
        """The tokenizer of a checkpoint's folder, with tokenizer.json, or vocab.json and merges.txt.

        Raises:
          ValueError: the files are damaged, or name no token that ends a text.
        """
        try:
            tokenizer = GPT2TokenizerFast.from_pretrained(str(folder), local_files_only=True)
        except Exception as error:  # the library raises bare Exception for a damaged file
            raise ValueError(
                f"{folder}: expected tokenizer.json, or vocab.json and merges.txt, of byte-level BPE, got {error}; "
                "download them again."
            ) from error
        known = tokenizer.get_vocab()
        begin, end = (_first(known, names) for names in (("<s>", "<|endoftext|>"), ("</s>", "<|endoftext|>")))
        if begin is None or end is None:
            raise ValueError(
                f"{folder}: expected a vocabulary with <|endoftext|>, or <s> and </s>, got {len(known)} others."
            )
        return cls(tokenizer, (begin, end), known.get("<pad>", end))

    def __call__(self, texts: tf.Tensor, max_tokens: int) -> tuple[tf.Tensor, tf.Tensor]:
        """As `SentencePiece.__call__`; in a graph too, but not in a SavedModel."""
        ids, mask = tf.numpy_function(lambda rows: self._rows(rows, max_tokens), [texts], (tf.int32, tf.bool))
        return tf.ensure_shape(ids, [None, None]), tf.ensure_shape(mask, [None, None])

    def _rows(self, texts: np.ndarray, max_tokens: int) -> tuple[np.ndarray, np.ndarray]:
        cut = [text.decode("utf-8", "replace")[: LONGEST * max_tokens] for text in texts]
        rows = self._tokenizer(cut, add_special_tokens=False, split_special_tokens=True, verbose=False).input_ids
        return frame([row[: max_tokens - 2] for row in rows] if len(cut) else [], self._edge, self._pad)


def frame(rows: Sequence[Sequence[int]], edge: tuple[int, int], pad: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ids with the ids that begin and end them, padded: ids and mask [B, L]."""
    length = 2 + max(map(len, rows), default=0)
    ids = np.full((len(rows), length), pad, np.int32)
    for i, row in enumerate(rows):
        ids[i, : len(row) + 2] = [edge[0], *row, edge[1]]
    return ids, np.arange(length) < np.array([len(row) + 2 for row in rows], np.int32).reshape(-1, 1)


def _first(known: dict[str, int], names: Sequence[str]) -> int | None:
    return next((known[name] for name in names if name in known), None)


def _text(word: str) -> str:
    """What a token stands for; empty where it is a part of a character."""
    try:
        return bytes(BYTES[character] for character in word).decode("utf-8").replace(" ", "▁")
    except (KeyError, UnicodeDecodeError):
        return ""
