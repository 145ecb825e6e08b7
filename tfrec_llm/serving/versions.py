"""The versions of a run's SavedModel: integers, one folder each. Imports no TensorFlow."""

from pathlib import Path


def newest_version(folder: Path) -> int:
    """The highest finished version under an export folder, 0 where there is none."""
    if not folder.exists():
        return 0
    return max((int(p.name) for p in folder.iterdir() if p.name.isdigit()), default=0)
