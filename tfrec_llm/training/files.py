"""Files that are whole or not there at all: written beside their place, flushed to the disk, then renamed into it."""

import contextlib
import hashlib
import json
import os
import threading
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file that takes the place of `path` when the block ends well; otherwise `path` stays as it was.

    Args:
      path: where the file shall lie; its folder is made.

    Yields:
      The open file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Writes bytes, whole or not at all."""
    with replacing(path) as file:
        file.write(data)


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8 text, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, value: Any) -> None:
    """Writes JSON, keys in their order (what is read back may depend on it), whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Reads JSON.

    Raises:
      ValueError: the file is missing or is no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{path}: expected a JSON file, got nothing there; run the stage that writes it.") from error
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON in UTF-8, got {error}; run the stage that writes it again.") from error


def write_npz(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays as .npz, whole or not at all; equal arrays give equal bytes.

    Args:
      path: the file.
      arrays: name -> array; any name will do, slashes included.

    Raises:
      ValueError: an array holds Python objects.
    """
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(arrays[name]), allow_pickle=False)


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """Reads arrays that `write_npz` wrote.

    Raises:
      ValueError: the file is missing, truncated or altered.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise ValueError(f"{path}: expected an .npz file, got nothing there; run the stage that writes it.") from error
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: expected a whole .npz, got {error}; run the stage that writes it again.") from error


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's content, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: str | Path) -> None:
    """Flushes a file or a folder's list of names to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: str | Path) -> None:
    """Flushes everything under a folder to the disk, names last."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(Path(parent, name))
        sync(parent)
