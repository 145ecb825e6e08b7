"""Byte-level BPE of GPT-2 and RoBERTa: outside the graph, so for training and item vectors, not for serving."""

import functools
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tokenizers import Tokenizer, models, pre_tokenizers

log = logging.getLogger(__name__)

LONGEST = 128  # characters of the longest token: runs of spaces and of dashes are single tokens
OBSTACLE = (
    "byte-level BPE has no TensorFlow operation, so this tokenizer cannot be in a SavedModel; everything that was "
    'trained is kept. To serve, set text.encoder to "e5_small", "minilm", or "bert" with a checkpoint that has a '
    "vocab.txt or a sentencepiece.bpe.model, and train again"
)


class ByteLevel:
    """Strings to ids through Python, ids as `GPT2TokenizerFast` gives them.

    Args:
      tokenizer: that which the fast tokenizers of `transformers` hold.
      edge: ids that begin and end a text.
      pad: id of padding.
    """

    export_obstacle = OBSTACLE

    def __init__(self, tokenizer: Tokenizer, edge: tuple[int, int], pad: int):
        self._tokenizer, self._edge, self._pad = tokenizer, edge, pad
        words = [tokenizer.id_to_token(i) or "" for i in range(max(tokenizer.get_vocab().values()) + 1)]
        self.pieces = np.array([_text(word) for word in words], object)
        self.pieces[[*edge, pad]] = "▁"

    @classmethod
    def read(cls, folder: Path) -> "ByteLevel":
        """The tokenizer of a checkpoint's folder, with tokenizer.json, or vocab.json and merges.txt.

        Raises:
          ValueError: the files are missing or damaged, of another kind, or name no token that ends a text.
        """
        try:
            tokenizer = _read(folder)
        except Exception as error:  # the library raises bare Exception for a damaged file
            raise ValueError(
                f"{folder}: expected tokenizer.json, or vocab.json and merges.txt, of byte-level BPE, got {error}; "
                "download them again."
            ) from error
        known = tokenizer.get_vocab()
        begin, end = (_first(known, names) for names in (("<s>", "<|endoftext|>"), ("</s>", "<|endoftext|>")))
        if begin is None or end is None or not known.keys() >= byte_of().keys():
            raise ValueError(
                f"{folder}: expected a vocabulary with all bytes and <|endoftext|>, or <s> and </s>, got {len(known)} "
                "tokens without; take the tokenizer that belongs to the weights."
            )
        log.warning("%s: %s.", folder, OBSTACLE)  # said before anything is trained
        return cls(tokenizer, (begin, end), known.get("<pad>", end))

    def __call__(self, texts: tf.Tensor, max_tokens: int) -> tuple[tf.Tensor, tf.Tensor]:
        """As `SentencePiece.__call__`; in a graph too, but not in a SavedModel."""
        ids, mask = tf.numpy_function(lambda rows: self._rows(rows, max_tokens), [texts], (tf.int32, tf.bool))
        return tf.ensure_shape(ids, [None, None]), tf.ensure_shape(mask, [None, None])

    def _rows(self, texts: np.ndarray, max_tokens: int) -> tuple[np.ndarray, np.ndarray]:
        cut = [text.decode("utf-8", "replace")[: LONGEST * max_tokens] for text in texts]
        rows = self._tokenizer.encode_batch_fast(cut, add_special_tokens=False)
        return frame([row.ids[: max_tokens - 2] for row in rows], self._edge, self._pad)


def frame(rows: Sequence[Sequence[int]], edge: tuple[int, int], pad: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ids with the ids that begin and end them, padded: ids and mask [B, L]."""
    length = 2 + max(map(len, rows), default=0)
    ids = np.full((len(rows), length), pad, np.int32)
    for i, row in enumerate(rows):
        ids[i, : len(row) + 2] = [edge[0], *row, edge[1]]
    return ids, np.arange(length) < np.array([len(row) + 2 for row in rows], np.int32).reshape(-1, 1)


@functools.cache
def byte_of() -> dict[str, int]:
    """Character of a vocabulary -> the byte that it stands for."""
    from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode  # a second, so only if needed

    return {character: byte for byte, character in bytes_to_unicode().items()}


def _read(folder: Path) -> Tokenizer:
    if (folder / "tokenizer.json").is_file():
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    else:
        tokenizer = Tokenizer(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True  # what looks like one in a text is text
    return tokenizer


def _first(known: dict[str, int], names: Sequence[str]) -> int | None:
    return next((known[name] for name in names if name in known), None)


def _text(word: str) -> str:
    """What a token stands for; empty where it is a part of a character."""
    try:
        return bytes(byte_of()[character] for character in word).decode("utf-8").replace(" ", "▁")
    except (KeyError, UnicodeDecodeError):
        return ""
