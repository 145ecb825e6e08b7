"""The versions of a run's SavedModel, integers with one folder each, and which of them is served.

`labels.json` says so to our server, `models.config` to a TensorFlow Serving; both are written together, and what the
second cannot say yet is said by `settle` (see `labels`). Imports no TensorFlow.
"""

import json
import os
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from filelock import FileLock, Timeout

from tfrec_llm.serving.labels import Labels, announced, seconds_left

ADDED = "added"  # stage of a run: items that came after the training, see `serving.added`
LABELS, SERVING = "labels.json", "models.config"
_PATIENCE = 600.0  # seconds
_REMEMBERED = 20  # versions that a rollback can go back to


class MovedError(ValueError):
    """What a version was made from does not serve any more."""


@contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """One process at a time reads what is served, makes the next version of it and labels that: the others wait.

    Args:
      folder: the export folder.

    Raises:
      ValueError: another process has been at it for ten minutes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".versions.lock", timeout=_PATIENCE)
    try:
        lock.acquire()
    except Timeout as error:
        raise ValueError(
            f"{folder}: expected to write the next version, got another process that has been writing one for "
            f"{_PATIENCE:.0f} s; wait for it, or end it."
        ) from error
    try:
        for left in (*folder.glob(".*.partial"), *folder.glob(".bundle.*")):  # of a writer that was killed
            shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        lock.release()


def newest_version(folder: Path) -> int:
    """The highest finished version under an export folder, 0 where there is none."""
    return max(_versions(folder), default=0)


def served_version(folder: Path) -> int:
    """The version labelled stable; where it is not there the one before, without labels the newest; 0 = none."""
    return next(iter(servable_versions(folder)), 0)


def servable_versions(folder: Path) -> list[int]:
    """The stable version and those before it, the latest first; without any, all from the newest on; none refused."""
    labels = read_labels(folder)
    there = [version for version in reversed(_versions(folder)) if str(version) not in labels.refused]
    labelled = [version for version in (labels.stable, *reversed(labels.before)) if version in there]
    return labelled or there


def moved_from(labels: Labels, version: int) -> str:
    """Why nothing may follow a version any more, "" while it serves."""
    if reason := labels.refused.get(str(version)):
        return f"version {version}, which it was made from, was taken back meanwhile ({reason})"
    if labels.stable not in (0, version):
        return f"version {labels.stable} serves by now, and not {version}, which it was made from"
    return ""


def read_labels(folder: Path) -> Labels:
    """The labels of an export folder; empty where none were written.

    Raises:
      ValueError: a file that is none of ours.
    """
    path = folder / LABELS
    try:
        found = json.loads(path.read_text("utf-8"))
        labels = Labels(**{**found, "before": tuple(found["before"])})
    except FileNotFoundError:
        return Labels()
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path}: expected labels as `make export` writes them, got others; delete the file, and the newest "
            "version is served."
        ) from error
    if labels.listed or not labels.stable:
        return labels
    listed = {str(version): labels.since for version in (labels.stable, labels.canary)}  # written by an older program
    return replace(labels, told=labels.stable, listed=listed)


def promote(folder: Path, version: int, source: int = 0) -> Labels:
    """Makes a version the stable one.

    Args:
      folder: the export folder.
      version: that shall serve.
      source: the version that it was made from, which must be stable still; 0 = whichever is.

    Raises:
      MovedError: the source was taken back, or another version serves by now.
      ValueError: there is no such version, or it was refused before.
    """
    with _changing(folder):
        labels = read_labels(folder)
        if source and (reason := moved_from(labels, source)):
            raise MovedError(f"{folder}: version {version} is not served: {reason}.")
        if version not in _versions(folder):
            raise ValueError(f"{folder}: expected one of the versions {_versions(folder)}, got {version}.")
        if reason := labels.refused.get(str(version)):
            raise ValueError(f"{folder}: version {version} was taken back ({reason}); export another one.")
        before = [v for v in (*labels.before, labels.stable) if v and v != version][-_REMEMBERED:]
        taken = {"stable": version, "canary": version, "before": tuple(before), "since": time.time()}
        return _write(folder, replace(labels, **taken))


def try_out(folder: Path, version: int) -> Labels:
    """Labels a version canary; the stable one stays, and where none was labelled the newest of the others is it."""
    with _changing(folder):
        labels = read_labels(folder)
        others = [v for v in servable_versions(folder) if v != version]
        stable = labels.stable or next(iter(others), 0)
        return _write(folder, replace(labels, stable=stable, canary=version))


def roll_back(folder: Path, reason: str, version: int = 0, followers: Collection[int] = ()) -> Labels:
    """Goes back to the version that was stable before, and never serves this one again.

    Args:
      folder: the export folder.
      reason: why.
      version: what goes wrong; where another one is stable by now, only its number is noted. 0 = the stable one.
      followers: versions that were made from it, and go with it.

    Raises:
      ValueError: there is none to go back to.
    """
    with _changing(folder):
        labels, there = read_labels(folder), set(_versions(folder))
        wrong = version or labels.stable or served_version(folder)
        all_wrong = {wrong, *followers}
        refused = {**labels.refused, **{str(one): reason for one in sorted(all_wrong)}}
        if labels.stable and labels.stable not in all_wrong:
            canary = labels.stable if labels.canary == wrong else labels.canary
            return _write(folder, replace(labels, canary=canary, refused=refused))
        earlier = labels.before or tuple(sorted(v for v in there if v < wrong))
        left = [v for v in earlier if v in there and str(v) not in refused]
        if not left:
            raise ValueError(f"{folder}: expected a version before {wrong} to go back to, found none.")
        back = {"stable": left[-1], "canary": left[-1], "before": tuple(left[:-1]), "since": time.time()}
        return _write(folder, replace(labels, refused=refused, **back))


def note_judged(folder: Path, version: int) -> None:
    """Remembers the latest version whose live reward is known well: those after it are still looked at."""
    with _changing(folder):
        _write(folder, replace(read_labels(folder), judged=version))


def settle(folder: Path) -> float:
    """Moves the labels in `models.config` to what serves, as soon as a TensorFlow Serving can follow.

    Returns:
      Seconds until it should be called again; 0 = `models.config` says what `labels.json` says.

    Raises:
      ValueError: labels that are none of ours.
      OSError: the folder cannot be written to.
    """
    if not _is_told(folder, labels := read_labels(folder)):
        with _changing(folder):
            if not _is_told(folder, labels := read_labels(folder)):
                labels = _write(folder, labels)
    return seconds_left(labels, _versions(folder)) if labels.stable else 0.0


def prune(folder: Path, keep: int, but: Collection[int] = ()) -> list[int]:
    """Deletes all but the newest versions; those that are labelled, and those a rollback may end at, stay.

    Args:
      folder: the export folder.
      keep: how many.
      but: more that stay.

    Returns:
      What was deleted.
    """
    labels = read_labels(folder)
    precious = {*but, labels.stable, labels.canary, *labels.before[-1:], *labels.unjudged, *map(int, labels.listed)}
    gone = [v for v in sorted(_versions(folder))[: -max(keep, 1)] if v not in precious]
    for version in gone:
        shutil.rmtree(folder / str(version), ignore_errors=True)
    return gone


def _versions(folder: Path) -> list[int]:
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit()) if folder.exists() else []


def _is_told(folder: Path, labels: Labels) -> bool:
    """Whether there is nothing to write."""
    if not labels.stable:
        return True
    told, text = announced(labels, _versions(folder))
    path = folder / SERVING
    return told == labels and path.exists() and path.read_text("utf-8") == text


@contextmanager
def _changing(folder: Path) -> Iterator[None]:
    """One process at a time: the server and the update both change labels."""
    with FileLock(folder / f".{LABELS}.lock", timeout=10):
        yield


def _write(folder: Path, labels: Labels) -> Labels:
    labels, told = announced(labels, _versions(folder))
    texts = {LABELS: json.dumps(asdict(labels), indent=1, sort_keys=True) + "\n", SERVING: told}
    for name, text in texts.items():
        partial = folder / f".{name}.{os.getpid()}"
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, folder / name)
    return labels
