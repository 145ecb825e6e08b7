"""The encoder without its tokenizer as a SavedModel, which OpenVINO opens. Used by `engine`.

Tracing and writing one takes seconds, so that of a server is kept in the cache of the project for its next start. Its
name is a hash of the weights and of this project's code: after a change of either it is made anew.
"""

import contextlib
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from tfrec_llm.data.archives import cache_dir
from tfrec_llm.text.encoders.encoder import TextEncoder

log = logging.getLogger(__name__)
KEPT = 4  # SavedModels in the cache: the newest, 190 MB each for e5_small
PACKAGE = Path(__file__).parents[2]  # whose code makes the graph


class Numeric(tf.Module):
    """The encoder without its tokenizer: what a SavedModel for OpenVINO holds.

    Args:
      encoder: the encoder.
      dtype: what the products are computed in.
    """

    def __init__(self, encoder: TextEncoder, dtype: tf.DType):
        super().__init__(name="numeric")
        self._encode, self._dtype = encoder.encode, dtype
        self._encoder = encoder

    @tf.function(
        input_signature=[tf.TensorSpec([None, None], tf.int32, "ids"), tf.TensorSpec([None, None], tf.bool, "mask")]
    )
    def encode(self, ids: tf.Tensor, mask: tf.Tensor) -> dict[str, tf.Tensor]:
        """ids, mask [B, L] -> {"embedding": [B, D] float32}."""
        return {"embedding": self._encode(ids, mask, self._dtype)}


@contextlib.contextmanager
def saved(encoder: TextEncoder, keep: bool = False) -> Iterator[Path]:
    """A folder with the encoder as a SavedModel of inputs ids and mask, there while the block runs.

    Args:
      encoder: the encoder; where it has a `fingerprint` of its weights, it may be kept.
      keep: whether it stays in the cache, and is taken from there. Where the cache cannot be written it does not.
    """
    kept = _place(encoder) if keep and getattr(encoder, "fingerprint", "") else None
    if kept is not None and kept.is_dir():
        with contextlib.suppress(OSError):  # a read-only cache
            os.utime(kept)
        try:
            yield kept
        except Exception:  # damaged, perhaps: the next start writes it anew
            shutil.rmtree(kept, ignore_errors=True)
            raise
        return
    beside = _writable(kept)
    with tempfile.TemporaryDirectory(prefix="tfrec_llm-", dir=beside) as scratch:
        folder, module = Path(scratch) / "numeric", Numeric(encoder, tf.float32)
        tf.saved_model.save(module, str(folder), signatures=module.encode.get_concrete_function())
        yield folder
        if beside is not None:
            with contextlib.suppress(OSError):  # another process was first
                folder.rename(kept)
    if beside is not None:
        _forget_oldest(beside)


def _place(encoder: TextEncoder) -> Path:
    """Where the cache has the graph that today's code makes of these weights."""
    digest = hashlib.sha256(f"{tf.__version__} {type(encoder).__qualname__} {encoder.fingerprint}".encode())
    for source in sorted(PACKAGE.rglob("*.py")):
        digest.update(source.read_bytes())
    return cache_dir() / "engines" / digest.hexdigest()[:32]


def _writable(kept: Path | None) -> Path | None:
    """The folder beside which a SavedModel that is to be kept is written, so that it can be moved there as a whole."""
    if kept is None:
        return None
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.info("%s cannot be written (%s): the encoder's graph is made again at each start.", kept.parent, error)
        return None
    return kept.parent if os.access(kept.parent, os.W_OK) else None


def _forget_oldest(folder: Path) -> None:
    """Removes all but the newest; what an ended process left half-written goes too, as the oldest."""

    def age(path: Path) -> float:
        try:
            return path.stat().st_mtime
        except OSError:  # another process was first
            return 0.0

    for old in sorted(folder.iterdir(), key=age, reverse=True)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
