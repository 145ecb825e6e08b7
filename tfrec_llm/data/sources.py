"""Verified archives and their members: all that the other loaders know about where data comes from.

An archive is fetched once into the cache, checked by size and hash before every use (the hash is taken again only
where size or time of the file changed), and read member by member; nothing is extracted or executed.
"""

import contextlib
import fcntl
import functools
import hashlib
import json
import logging
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from tfrec_llm.data.archives import Archive, SourceError, archive, cache_dir, names_for
from tfrec_llm.data.download import download

__all__ = ["SourceError", "cache_dir", "fetch", "fetch_all", "names_for", "read_member", "read_members"]

log = logging.getLogger(__name__)


def fetch(name: str) -> Path:
    """A verified archive of the lock, downloaded where the cache lacks it.

    Args:
      name: as in `data/sources.lock`.

    Raises:
      SourceError: it cannot be had; the message says why and what to do.
    """
    wanted = archive(name)
    folder = cache_dir() / "archives"
    path = folder / wanted.file
    if _is_whole(path, wanted):
        return path
    with _only_one(folder, wanted):
        if not _is_whole(path, wanted):  # another process may have brought it meanwhile
            _replace(path, wanted)
    return path


def fetch_all(names: Iterable[str]) -> dict[str, Path]:
    """Several archives, see `fetch`; names -> paths."""
    return {name: fetch(name) for name in names}


def read_member(name: str, member: str) -> bytes:
    """One member of an archive.

    Args:
      name: the archive, as in the lock.
      member: its path inside; a tar's leading folder may be left out.

    Raises:
      SourceError: there is no such member.
    """
    return read_members(name, (member,))[member]


def read_members(name: str, members: Iterable[str]) -> dict[str, bytes]:
    """Several members of an archive in one pass, see `read_member`."""
    path, wanted = fetch(name), tuple(members)
    read = _read_zip if zipfile.is_zipfile(path) else _read_tar
    try:
        found = read(path, wanted)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error) as error:
        raise SourceError(f"{path}: expected a zip or tar, got {error}; delete the file and fetch again.") from error
    missing = [member for member in wanted if member not in found]
    if missing:
        raise SourceError(f"{path}: expected members {', '.join(missing)}, got none; check data/sources.lock.")
    return {member: found[member] for member in wanted}


def _read_zip(path: Path, members: tuple[str, ...]) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as opened:
        matches = {m: n for n in opened.namelist() for m in members if _matches(n, m)}
        return {member: opened.read(inner) for member, inner in matches.items()}


def _read_tar(path: Path, members: tuple[str, ...]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(path, "r:*") as opened:
        for info in opened:
            for member in members:
                if info.isfile() and member not in found and _matches(info.name, member):
                    found[member] = opened.extractfile(info).read()
            if len(found) == len(members):
                break
    return found


def _matches(inner: str, member: str) -> bool:
    """Whether a path in an archive is a member, with or without the leading folder of an sdist."""
    return inner == member or inner.partition("/")[2] == member


def _is_whole(path: Path, wanted: Archive) -> bool:
    """Whether the cache holds exactly this file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    return status.st_size == wanted.size and _hash(path) == wanted.sha256


def _hash(path: Path) -> str:
    """SHA-256 of a file, remembered beside it as long as size and time stay the same."""
    status, memory = path.stat(), path.with_name(f"{path.name}.verified")
    key = [status.st_size, status.st_mtime_ns]
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(memory.read_text(encoding="utf-8"))
        if kept["key"] == key:
            return kept["sha256"]
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(functools.partial(file.read, 1 << 20), b""):
            digest.update(block)
    with contextlib.suppress(OSError):  # a read-only cache is hashed each time
        memory.write_text(json.dumps({"key": key, "sha256": digest.hexdigest()}), encoding="utf-8")
    return digest.hexdigest()


def _replace(path: Path, wanted: Archive) -> None:
    """Brings the file, checks it and puts it into its place."""
    if path.exists():
        got = _hash(path)
        log.warning("%s is damaged: expected sha256 %s, got %s; it is fetched again", path, wanted.sha256, got)
    part = download(wanted, path.parent)
    size, got = part.stat().st_size, hashlib.sha256(part.read_bytes()).hexdigest()
    if got != wanted.sha256:
        part.unlink()
        raise SourceError(
            f"{wanted.file}: expected sha256 {wanted.sha256} ({wanted.size:,} bytes), got {got} ({size:,} bytes) from "
            "the index; it was thrown away. Run again; if it stays so, the index serves another file than the lock's."
        )
    os.replace(part, path)


@contextlib.contextmanager
def _only_one(folder: Path, wanted: Archive) -> Iterator[None]:
    """Holds off other processes that fetch the same file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / f"{wanted.file}.lock").open("w")
    except OSError as error:
        raise SourceError(
            f"{folder}: cannot be written ({error}); make it writable, or move TFREC_LLM_CACHE."
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
