"""The tokenizer that belongs to a checkpoint, read from its folder: WordPiece, SentencePiece or byte-level BPE."""

import base64
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from tfrec_llm.text.encoders.byte_level import ByteLevel
from tfrec_llm.text.encoders.checkpoint import read_json
from tfrec_llm.text.encoders.tokenizers import SentencePiece, WordPiece

WORDS, PIECES, DESCRIBED, SETTINGS = "vocab.txt", "sentencepiece.bpe.model", "tokenizer.json", "tokenizer_config.json"
FILES = (WORDS, PIECES, DESCRIBED, SETTINGS, "vocab.json", "merges.txt")
XLM_R = ("<s>", "<pad>", "</s>", "<unk>")


def read_tokenizer(folder: Path) -> WordPiece | SentencePiece | ByteLevel:
    """The tokenizer of a checkpoint.

    Args:
      folder: with vocab.txt, sentencepiece.bpe.model, tokenizer.json, or vocab.json and merges.txt.

    Raises:
      ValueError: none of these is there, or one is damaged or of a kind that is not known.
    """
    settings = read_json(folder, SETTINGS) if (folder / SETTINGS).is_file() else {}
    described = read_json(folder, DESCRIBED) if (folder / DESCRIBED).is_file() else {}
    kind = described.get("model", {}).get("type")
    if (folder / WORDS).is_file() or kind == "WordPiece":
        return _word_piece(folder, settings, described)
    if (folder / PIECES).is_file() or kind == "Unigram":
        return _sentence_piece(folder, described)
    if kind == "BPE" or (folder / "merges.txt").is_file():
        return ByteLevel.read(folder)
    found = f"a tokenizer.json of type {kind}" if kind else "none of them"
    raise ValueError(
        f"{folder}: expected {WORDS}, {PIECES}, {DESCRIBED} (WordPiece, Unigram or byte-level BPE), or vocab.json with "
        f"merges.txt, got {found}; download the checkpoint with its tokenizer."
    )


def _word_piece(folder: Path, settings: dict[str, Any], described: dict[str, Any]) -> WordPiece:
    normaliser = described.get("normalizer") or {}
    lower_case = settings.get("do_lower_case", normaliser.get("lowercase", True))
    strip_accents = settings.get("strip_accents", normaliser.get("strip_accents"))
    split_chinese = settings.get("tokenize_chinese_chars", normaliser.get("handle_chinese_chars", True))
    try:
        words = _lines(folder / WORDS) if (folder / WORDS).is_file() else _in_order(described["model"]["vocab"])
        return WordPiece(words, lower_case, strip_accents, split_chinese)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{folder}: expected a vocabulary of WordPiece in {WORDS} (UTF-8, a piece a line) or {DESCRIBED}, got "
            f"{_told(error)}; download the checkpoint's tokenizer again."
        ) from error


def _told(error: Exception) -> str:
    """What an error says, with its kind where it says but a key."""
    return f"no {error}" if isinstance(error, KeyError) else str(error)


def _lines(path: Path) -> list[str]:
    """Lines end with a line feed only: a vocabulary may hold every other white space."""
    lines = path.read_bytes().decode("utf-8").split("\n")
    return [line.rstrip("\r") for line in (lines[:-1] if not lines[-1] else lines)]


def _in_order(ids: dict[str, int]) -> list[str]:
    words = sorted(ids, key=ids.__getitem__)
    if [ids[word] for word in words] != list(range(len(words))):
        raise ValueError(f"{DESCRIBED}: expected ids 0 to {len(words) - 1}, each once; download it again.")
    return words


def _sentence_piece(folder: Path, described: dict[str, Any]) -> SentencePiece:
    if described:
        pieces, scores = zip(*described["model"]["vocab"], strict=True)
        normaliser = _character_map(described.get("normalizer"))
    else:
        pieces, scores, normaliser = _read_proto(folder / PIECES)
    if pieces[:4] != XLM_R:
        raise ValueError(
            f"{folder}: expected a vocabulary that begins with {', '.join(XLM_R)}, got {', '.join(pieces[:4])}; only "
            "SentencePiece vocabularies with the ids of XLM-R can be used."
        )
    return SentencePiece(pieces, scores, normaliser)


def _character_map(normaliser: Any) -> bytes | None:
    """The compiled map, wherever it is among a tokenizer.json's normalisers."""
    if isinstance(normaliser, dict):
        if normaliser.get("type") == "Precompiled":
            return base64.b64decode(normaliser["precompiled_charsmap"]) or None
        normaliser = normaliser.get("normalizers")
    found = [_character_map(part) for part in normaliser or ()]
    return next((one for one in found if one is not None), None)


def _read_proto(path: Path) -> tuple[tuple[str, ...], tuple[float, ...], bytes | None]:
    """Pieces in XLM-R's order: its own four, the model's from the fourth, the mask."""
    from transformers.utils import sentencepiece_model_pb2_new as sentencepiece  # half a second, so only if needed

    model = sentencepiece.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ValueError(f"{path}: expected a whole SentencePiece model, got {error}; download it again.") from error
    if len(model.pieces) < 4 or model.trainer_spec.model_type != model.trainer_spec.UNIGRAM:
        raise ValueError(f"{path}: expected a SentencePiece Unigram model, got {len(model.pieces)} pieces.")
    own = [(piece.piece, piece.score) for piece in model.pieces[3:]]
    pieces, scores = zip(*[(name, 0.0) for name in XLM_R], *own, ("<mask>", 0.0), strict=True)
    return pieces, scores, model.normalizer_spec.precompiled_charsmap or None
