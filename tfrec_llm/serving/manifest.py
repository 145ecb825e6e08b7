"""Whether an export is whole: every file as `manifest.json` says. Asked before TensorFlow opens it; imports none."""

import hashlib
import json
import os
from collections.abc import Collection
from pathlib import Path

NAME = "manifest.json"
POLICY_FILES = ("variables/variables.data-00001-of-00002", "variables/variables.index")  # that learning changes


def write_manifest(folder: Path, version: int, source: Path | None = None, fusion: str = "", items: str = "") -> None:
    """Writes `manifest.json`: the version, what its contexts and its items come from, and the sha256 of every file.

    Args:
      folder: a version's folder, finished but for this.
      version: its number.
      source: a version that it shares files with (hard links); their hashes are taken from there, fusion and items too.
      fusion: fingerprint of the fusion, for whoever learns from contexts.
      items: fingerprint of the items that were added after the training, "" = none.
    """
    known = read_manifest(source) if source else {}
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = str(path.relative_to(folder))
        shared = source is not None and name in known and _same(path, source / name)
        files[name] = known[name] if shared else _sha256(path)
    made_from = {"fusion": fusion, "items": items} if source is None else _made_from(source)
    text = json.dumps({"version": version, **made_from, "files": files}, indent=1, sort_keys=True)
    (folder / NAME).write_text(text + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> dict[str, str]:
    """File -> sha256.

    Raises:
      ValueError: no manifest, or none of ours.
    """
    try:
        files = json.loads((folder / NAME).read_text("utf-8"))["files"]
        wanted = {str(name): str(digest) for name, digest in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{folder}: expected an export with its manifest.json, got none that can be read; run `make export`."
        ) from error
    if "saved_model.pb" not in wanted:
        raise ValueError(f"{folder}: expected a manifest that names saved_model.pb, got another; run `make export`.")
    return wanted


def fusion_of(folder: Path) -> str:
    """Fingerprint of the fusion that a version's contexts come from; "" where its manifest does not say."""
    return _made_from(folder)["fusion"]


def items_of(folder: Path) -> str:
    """Fingerprint of the items that were added to a version after the training; "" = none."""
    return _made_from(folder)["items"]


def _made_from(folder: Path) -> dict[str, str]:
    try:
        told = json.loads((folder / NAME).read_text("utf-8"))
        return {name: str(told.get(name, "")) for name in ("fusion", "items")}
    except (OSError, ValueError, AttributeError):
        return {"fusion": "", "items": ""}


def check_manifest(folder: Path, trusted: Path | None = None) -> None:
    """Refuses a folder that is not an export of ours as it was written.

    Args:
      folder: a version's folder.
      trusted: a version that was checked; files that the two share (hard links) are not read again. Where its own
        manifest cannot be read any more, all are.

    Raises:
      ValueError: no manifest, or a file that is missing, cut short or changed; names the first.
    """
    known = _readable(trusted) if trusted else {}
    for name, digest in read_manifest(folder).items():
        shared = trusted is not None and known.get(name) == digest and _same(folder / name, trusted / name)
        if not shared and _sha256(folder / name) != digest:
            raise ValueError(
                f"{folder}: expected {name} as the manifest says, got it missing or changed; run `make export`."
            )


def differs_in(folder: Path, other: Path, names: Collection[str]) -> bool:
    """Whether two versions have the same files, all of them equal but for some.

    Args:
      folder: a version; one whose manifest cannot be read any more is like no other.
      other: another one.
      names: files that may differ.

    Raises:
      ValueError: the other one has no manifest of ours.
    """
    ours, theirs = _readable(folder), read_manifest(other)
    return set(ours) == set(theirs) and all(ours[name] == theirs[name] for name in ours if name not in names)


def _readable(folder: Path) -> dict[str, str]:
    """As `read_manifest`, empty where it cannot be read."""
    try:
        return read_manifest(folder)
    except ValueError:
        return {}


def _same(path: Path, other: Path) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False


def _sha256(path: Path) -> str:
    """Hexadecimal; empty where there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
