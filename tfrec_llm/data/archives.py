"""The archives of `data/sources.lock`: which exist, which a run needs, and where they are kept.

First step of the flow: names in a config -> archives that `sources` fetches.
"""

import functools
import os
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tfrec_llm.config import Config

_LOCK_PLACES = (
    Path(__file__).parents[2] / "data" / "sources.lock",  # a checkout
    Path(sys.prefix) / "share" / "tfrec_llm" / "sources.lock",  # an installed package
)


class SourceError(ValueError):
    """An archive cannot be had or is not what the lock says; the message says what to do."""


@dataclass(frozen=True)
class Archive:
    """One line of the lock: a file on the package index, pinned."""

    name: str  # the package's name on the index
    version: str
    file: str  # exact file name
    sha256: str
    size: int  # bytes
    serves: tuple[str, ...]  # data sources, corpora and encoders that read it


def cache_dir() -> Path:
    """The folder outside git for archives and item vectors: TFREC_LLM_CACHE, else ~/.cache/tfrec_llm."""
    return Path(os.environ.get("TFREC_LLM_CACHE") or Path.home() / ".cache" / "tfrec_llm")


def read_lock(path: Path) -> dict[str, Archive]:
    """All archives of a lock file, by name.

    Raises:
      SourceError: no such file, or not in the lock's form.
    """
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))["archive"]
        archives = [
            Archive(e["name"], e["version"], e["file"], e["sha256"], int(e["size"]), tuple(e["for"])) for e in entries
        ]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise SourceError(
            f"{path}: expected [[archive]] tables with name, version, file, sha256, size and for, got "
            f"{type(error).__name__}: {error}; take the file from the repository."
        ) from error
    return {archive.name: archive for archive in archives}


@functools.cache
def archives() -> dict[str, Archive]:
    """The archives of `data/sources.lock`, by name."""
    return read_lock(next((path for path in _LOCK_PLACES if path.exists()), _LOCK_PLACES[0]))


def archive(name: str) -> Archive:
    """One archive of the lock.

    Raises:
      SourceError: no archive has this name.
    """
    if name not in archives():
        raise SourceError(f"expected an archive of data/sources.lock ({', '.join(archives())}), got {name!r}.")
    return archives()[name]


def names_serving(uses: Iterable[str]) -> tuple[str, ...]:
    """Names of the archives that data sources, corpora or encoders are read from.

    Args:
      uses: e.g. "movielens_1m", "snips", "e5_small", "tokenizer", "emotion_words"; what needs no archive is left out.
    """
    wanted = set(uses)
    return tuple(a.name for a in archives().values() if wanted.intersection(a.serves))


def names_for(config: Config) -> tuple[str, ...]:
    """Names of the archives that a run needs: its events, its labelled texts, its encoder and its word lists."""
    text = config.text
    emotions = ("emotion_words",) if text.corpora else ()
    synonyms = ("synonyms",) if text.augment.synonyms or text.robustness else ()
    return names_serving((config.data.source, *text.corpora, text.encoder.name, *emotions, *synonyms))
