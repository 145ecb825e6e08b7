"""Stages that can be killed at any point: a stage's folder is whole and proven, or it is not there.

```
runs/<run>/<stage>/              a finished stage; stage.json lists size and hash of every file in it
runs/<run>/<stage>.partial/      a stage being built: result/ becomes the stage, work/ keeps checkpoints over a kill
runs/<run>/<stage>.old/          the stage before, for the moment between the two renames
runs/<run>/tensorboard/<stage>/  its scalars
```
The folder that is there stays until the new one is complete and flushed to the disk. Whatever moment a process is
killed at, the next call finds either the old result or the new one: `_settle` finishes or undoes a swap cut in two.
Checkpoints are trusted only while `inputs.sha256` lies beside them; it is the first file to go.
"""

import contextlib
import errno
import fcntl
import logging
import os
import re
import resource
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tfrec_llm.training import files
from tfrec_llm.training.fingerprint import fingerprint

FORMAT = 1  # of a stage folder; a change makes every stage be built anew
_log = logging.getLogger(__name__)


class Stage(NamedTuple):
    """Where a stage's train function reads and writes."""

    name: str
    folder: Path  # results; there and empty when the function starts
    work: Path  # checkpoints; survives a kill, gone once the stage is finished
    logs: Path  # TensorBoard


def run_stage(
    run: str | Path, name: str, inputs: Mapping[str, Any], build: Callable[[Stage], Any], *, force: bool = False
) -> str:
    """Builds a stage, unless it is there already, made from the same inputs and undamaged.

    Args:
      run: the run folder.
      name: the stage, a word of lower-case letters, digits and `_`.
      inputs: everything the result depends on: settings, fingerprints of the stages before, hashes. Dataclasses,
        mappings, sequences, arrays, paths and plain values.
      build: writes the results into `stage.folder`; may keep checkpoints in `stage.work` and find them there again.
      force: build it although it is there (what is there stays until the new one is complete).

    Returns:
      The fingerprint: SHA-256 of the inputs, for the inputs of the stages after.

    Raises:
      ValueError: a file of the finished stage is missing or damaged, or another process is building the stage.
      OSError: the disk is full; earlier results are untouched.
    """
    run = Path(run)
    mark = fingerprint({"format": FORMAT, "stage": _checked(name), "inputs": inputs})
    _settle(run, name)
    if not force and _is_done(run, name, mark):
        _log.info("%s: nothing to do, %s is up to date", name, run / name)
        return mark
    _refuse_foreign(run / name, name)
    begin = time.monotonic()
    with _clear_errors(run, name), _alone(run, name) as partial:
        stage = _prepare(partial, run / "tensorboard" / name, name, mark)
        _log.info("%s: building %s", name, run / name)
        build(stage)
        _seal(stage, mark, time.monotonic() - begin)
        _swap(run, name)
    _log.info("%s: done in %.0f s, see %s", name, time.monotonic() - begin, run / name)
    return mark


def stage_fingerprint(run: str | Path, name: str) -> str:
    """The fingerprint of a finished stage.

    Raises:
      ValueError: there is no such finished stage.
    """
    return read_stage(run, name)["fingerprint"]


def read_stage(run: str | Path, name: str) -> dict[str, Any]:
    """What is known of a finished stage: fingerprint, files, seconds of its last build, peak memory in GB.

    Raises:
      ValueError: there is no such finished stage, or its stage.json is damaged.
    """
    _settle(Path(run), _checked(name))
    path = Path(run, name, "stage.json")
    if not path.parent.exists():
        raise ValueError(f"{path.parent}: expected the finished stage {name!r}, got nothing there; {_remedy(name)}.")
    return _read_manifest(path, name)


def verify(run: str | Path, name: str) -> None:
    """Checks every file of a finished stage against its size and hash.

    Raises:
      ValueError: a file is missing or damaged; names it and the remedy. Nothing is deleted.
    """
    folder = Path(run, name)
    for relative, (size, digest) in read_stage(run, name)["files"].items():
        path = folder / relative
        if not path.is_file():
            raise ValueError(f"{path}: expected a file of stage {name!r}, got nothing there; {_remedy(name)}.")
        if path.stat().st_size != size or files.sha256(path) != digest:
            raise ValueError(
                f"{path}: expected {size} bytes with the hash in stage.json, got {path.stat().st_size} bytes "
                f"with other content; {_remedy(name)}."
            )


def _remedy(name: str) -> str:
    return f"build it again with: make train STAGE={name.partition('/')[0]}"


def _checked(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9_]+(/[a-z0-9_]+)?", name):
        raise ValueError(f"expected a stage name of lower-case letters, digits and _, got {name!r}.")
    return name


def _read_manifest(path: Path, name: str) -> dict[str, Any]:
    """stage.json, which carries a hash of itself so that no altered list can vouch for altered files."""
    try:
        manifest = files.read_json(path)
        itself = manifest.pop("sha256")
        if itself != fingerprint(manifest):
            raise ValueError("its content does not fit its own hash")
        return manifest
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{path}: expected the list of files of stage {name!r}, got {error}; move {path.parent} away or delete "
            f"it, then {_remedy(name)}."
        ) from error


def _is_done(run: Path, name: str, mark: str) -> bool:
    if not (run / name).exists() or stage_fingerprint(run, name) != mark:
        return False
    verify(run, name)
    return True


def _refuse_foreign(folder: Path, name: str) -> None:
    """A folder that no stage made is never replaced: it may hold somebody's only copy."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "stage.json").is_file():
        raise ValueError(
            f"{folder}: expected a folder made by stage {name!r}, got one without stage.json; "
            "move it away or choose another run folder."
        )


def _settle(run: Path, name: str) -> None:
    """Finishes or undoes a swap that was killed, and clears what one left behind."""
    final, old, partial = run / name, run / f"{name}.old", run / f"{name}.partial"
    if not partial.exists():
        return
    with contextlib.suppress(BlockingIOError), _lock(partial):  # a process at work settles its own affairs
        if (partial / "result" / "stage.json").is_file():  # written last, after everything else was flushed
            _swap(run, name)
        elif old.exists() and not final.exists():
            os.rename(old, final)
        elif final.exists():
            shutil.rmtree(old, ignore_errors=True)
            if not (partial / "result").exists():
                _clear(partial)


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """One process at a time; the system drops the lock of a killed one."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _alone(run: Path, name: str) -> Iterator[Path]:
    """The folder that a stage is built in, for this process only."""
    partial = run / f"{name}.partial"
    partial.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_lock(partial))
        except BlockingIOError as error:
            raise ValueError(
                f"{partial}: expected to build stage {name!r} alone, got another process that is building it; wait "
                "for it or choose another run folder."
            ) from error
        yield partial


def _prepare(partial: Path, logs: Path, name: str, mark: str) -> Stage:
    """Empties the result folder; keeps checkpoints only where they were made from the same inputs."""
    stamp = partial / "inputs.sha256"
    if not stamp.is_file() or stamp.read_text(encoding="ascii") != mark:
        for folder in (partial / "work", logs):
            shutil.rmtree(folder, ignore_errors=True)
        files.write_text(stamp, mark)
    shutil.rmtree(partial / "result", ignore_errors=True)
    stage = Stage(name, partial / "result", partial / "work", logs)
    for folder in stage[1:]:
        folder.mkdir(parents=True, exist_ok=True)
    return stage


def _seal(stage: Stage, mark: str, seconds: float) -> None:
    """Flushes the results and writes stage.json, last of all."""
    files.sync_tree(stage.folder)
    paths = sorted(p for p in stage.folder.rglob("*") if p.is_file())
    manifest = {
        "stage": stage.name,
        "format": FORMAT,
        "fingerprint": mark,
        "seconds": round(seconds, 3),
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3),
        "files": {p.relative_to(stage.folder).as_posix(): [p.stat().st_size, files.sha256(p)] for p in paths},
    }
    files.write_json(stage.folder / "stage.json", {**manifest, "sha256": fingerprint(manifest)})


def _swap(run: Path, name: str) -> None:
    """Puts the complete result in its place; the one before is removed only afterwards."""
    final, old, partial = run / name, run / f"{name}.old", run / f"{name}.partial"
    if final.exists():
        shutil.rmtree(old, ignore_errors=True)
        os.rename(final, old)
    os.rename(partial / "result", final)
    files.sync(run)
    shutil.rmtree(old, ignore_errors=True)
    _clear(partial)


def _clear(partial: Path) -> None:
    """Removes what a finished build leaves; its stamp first, so that half-removed checkpoints count for nothing."""
    (partial / "inputs.sha256").unlink(missing_ok=True)
    shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def _clear_errors(run: Path, name: str) -> Iterator[None]:
    """Turns a full disk, whoever reports it, into one sentence, and frees what the failed attempt had written."""
    try:
        yield
    except Exception as error:
        if not _says_disk_full(error):
            raise
        for path in (run / f"{name}.partial" / "result").glob("*"):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        raise OSError(
            errno.ENOSPC,
            f"the disk that holds {run} is full (or a limit on file sizes was met) while stage {name!r} was being "
            "built; free some space and run the same command again. Earlier results and checkpoints are untouched",
        ) from error


def _says_disk_full(error: BaseException | None) -> bool:
    """TensorFlow and Arrow report a full disk by their own exceptions, so their words count too."""
    if error is None:
        return False
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    words = ("No space left on device", "Disk quota exceeded", "File too large")
    return full or any(word in str(error) for word in words) or _says_disk_full(error.__cause__ or error.__context__)
