"""Many texts -> vectors, once: batches of like length, and a cache on disk by content.

A vector's key is a hash of its text; the folder it lies in, under `cache_dir()/vectors`, names the encoder, the kind,
the length and the precision. Pieces of a few thousand vectors are written as they are made, so that an interrupted run
goes on where it was; a piece that cannot be read counts as absent.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfrec_llm.config import Config, Text
from tfrec_llm.data.sources import cache_dir
from tfrec_llm.text.encoders.encoder import TextEncoder
from tfrec_llm.text.encoders.engine import Engine, make_engine, resolve
from tfrec_llm.training import files

log = logging.getLogger(__name__)
PIECE = 4096  # vectors written together


def encode_texts(
    encoder: TextEncoder,
    texts: Sequence[str],
    kind: str,
    max_tokens: int,
    batch_size: int,
    precision: str = "auto",
    engine: str = "auto",
) -> np.ndarray:
    """Vectors of texts; only those that the cache lacks are computed.

    Args:
      encoder: the encoder.
      texts: n strings.
      kind: "query" or "passage".
      max_tokens: longer texts are cut.
      batch_size: texts encoded together.
      precision: "float32", "bfloat16" or "auto", which is `fast_precision()`.
      engine: a name in `engine.NAMES`; the engines' vectors are cached apart.

    Returns:
      [n, D] float32 of unit length.
    """
    if not len(texts):
        return np.zeros((0, encoder.dim), np.float32)
    precision, engine = fast_precision() if precision == "auto" else precision, resolve(engine)
    made_by = precision if engine == "tensorflow" else f"{precision}-{engine}"
    folder = cache_dir() / "vectors" / f"{encoder.fingerprint}-{kind}-{max_tokens}-{made_by}"
    keys, first, place = np.unique([_key(text) for text in texts], return_index=True, return_inverse=True)
    vectors, known = _read(folder, keys, encoder.dim)
    missing = np.flatnonzero(~known)
    if len(missing):
        log.info("encode %s: %d of %d texts are not in the cache yet", kind, len(missing), len(keys))
        distinct = [texts[i] for i in first[missing]]
        fast = make_engine(encoder, engine, tf.as_dtype(precision))
        tokens = token_rows(encoder, distinct, kind, max_tokens)
        for rows, values in encode_pieces(fast, tokens, batch_size, f"encode {kind}"):
            vectors[missing[rows]] = values
            _write(folder, keys[missing[rows]], values)
    return vectors[place.reshape(-1)]


def encode_queries(encoder: TextEncoder, config: Config, texts: Sequence[str]) -> np.ndarray:
    """[R, D] vectors of texts as the encoder is now, by the engine and the precision of the config."""
    text = config.text
    return encode_texts(encoder, texts, "query", text.max_tokens, text.batch_size, text.precision, text.engine)


def precision_of(text: Text) -> str:
    """The precision that a config asks for, float32 or bfloat16."""
    return fast_precision() if text.precision == "auto" else text.precision


def fast_precision() -> str:
    """bfloat16 where a GPU or this processor has instructions for it, else float32."""
    if tf.config.list_physical_devices("GPU"):
        return "bfloat16"
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return "float32"
    return "bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest().encode()


def encode_pieces(
    engine: Engine, tokens: Sequence[np.ndarray], batch_size: int, label: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Encodes shortest first, so that a batch has little padding; without the cache.

    Args:
      engine: token ids -> vectors.
      tokens: ids of each text, without padding.
      batch_size: texts encoded together.
      label: of the progress bar.

    Yields:
      Positions [m] among the texts and their vectors [m, D], piece by piece.
    """
    order = np.argsort([len(row) for row in tokens], kind="stable")
    hidden = True if len(tokens) < PIECE // 8 else None
    with tqdm(total=len(tokens), desc=label, unit="text", disable=hidden) as bar:
        for begin in range(0, len(tokens), PIECE):
            rows, values = order[begin : begin + PIECE], []
            parts = (rows[start : start + batch_size] for start in range(0, len(rows), batch_size))
            for vectors in engine.stream(_padded([tokens[i] for i in part]) for part in parts):
                values.append(vectors)
                bar.update(len(vectors))
            yield rows, np.concatenate(values)


def _padded(rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Token ids [B, L] int32, 0 at padding, and mask [B, L]."""
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.zeros(mask.shape, np.int32)
    ids[mask] = np.concatenate(rows)
    return ids, mask


def token_rows(
    encoder: TextEncoder, texts: Sequence[str], kind: str, max_tokens: int, batch_size: int = 256
) -> list[np.ndarray]:
    """Token ids of each text, int32, without padding."""
    return tokenizing(encoder, kind, max_tokens, batch_size)(texts)


def tokenizing(
    encoder: TextEncoder, kind: str, max_tokens: int, batch_size: int = 256
) -> Callable[[Sequence[str]], list[np.ndarray]]:
    """`token_rows` as a function of the texts alone, traced once."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def tokenize(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return encoder.tokenize(batch, kind, max_tokens)

    def rows(texts: Sequence[str]) -> list[np.ndarray]:
        found = []
        for start in range(0, len(texts), batch_size):
            batch = [text.encode("utf-8", "replace") for text in texts[start : start + batch_size]]
            ids, mask = (part.numpy() for part in tokenize(tf.constant(batch)))
            found += [row[: kept.sum()] for row, kept in zip(ids, mask, strict=True)]
        return found

    return rows


def _read(folder: Path, keys: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """What the cache has of sorted keys [n]: vectors [n, dim], zero where absent, and known [n] bool."""
    vectors, known = np.zeros((len(keys), dim), np.float32), np.zeros(len(keys), bool)
    for path in sorted(folder.glob("*.npz")):
        try:
            piece = files.read_npz(path)
            have, values = piece["keys"], piece["vectors"]
            if values.shape != (len(have), dim) or not np.isfinite(values).all():
                raise ValueError(f"vectors of shape {values.shape}")
        except (ValueError, KeyError) as error:
            log.warning("%s cannot be read (%s): its texts are encoded again.", path, error)
            continue
        place = np.minimum(np.searchsorted(keys, have), len(keys) - 1)
        hit = keys[place] == have
        vectors[place[hit]], known[place[hit]] = values[hit], True
    return vectors, known


def _write(folder: Path, keys: np.ndarray, vectors: np.ndarray) -> None:
    """One piece, named by what is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.blake2b(keys.tobytes(), digest_size=16).hexdigest()
    files.write_npz(folder / f"{name}.npz", {"keys": keys, "vectors": vectors})
