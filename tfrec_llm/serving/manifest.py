"""Whether an export is whole: every file as `manifest.json` says. Asked before TensorFlow opens it; imports none."""

import hashlib
import json
from pathlib import Path


def check_manifest(folder: Path) -> None:
    """Refuses a folder that is not an export of ours as it was written.

    Args:
      folder: a version's folder.

    Raises:
      ValueError: no manifest, or a file that is missing, cut short or changed; names the first.
    """
    try:
        files = json.loads((folder / "manifest.json").read_text("utf-8"))["files"]
        wanted = {str(name): str(digest) for name, digest in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{folder}: expected an export with its manifest.json, got none that can be read; run `make export`."
        ) from error
    if "saved_model.pb" not in wanted:
        raise ValueError(f"{folder}: expected a manifest that names saved_model.pb, got another; run `make export`.")
    for name, digest in wanted.items():
        if _sha256(folder / name) != digest:
            raise ValueError(
                f"{folder}: expected {name} as the manifest says, got it missing or changed; run `make export`."
            )


def _sha256(path: Path) -> str:
    """Hexadecimal; empty where there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
