"""What the text stage reads from files that its settings name: their contents are inputs of the stage too."""

from collections.abc import Iterator
from pathlib import Path

from tfrec_llm.config import Config
from tfrec_llm.text.little.steps import REST
from tfrec_llm.training import files

LARGE = 50 * 1024 * 1024  # bytes; a larger file is known by its size and the time of its last change


def outside_files(config: Config) -> dict[str, dict[str, str]]:
    """Marks of the files that section text names, so that a changed file is a changed input.

    Args:
      config: section text: the encoder's checkpoint, texts without labels, translation models, WordNet.

    Returns:
      {"files": path -> mark}, where a folder stands for every file in it; empty where no setting names a file. A name
      on the hub is no file: its revision is part of the settings.
    """
    marks = {str(path): _mark(path) for named in _named(config) for path in _files(Path(named).expanduser())}
    return {"files": marks} if marks else {}


def _named(config: Config) -> Iterator[str]:
    text = config.text
    yield str(text.encoder.settings.get("path", ""))
    yield "" if text.little.unlabelled == REST else text.little.unlabelled
    yield f"{text.augment.wordnet}/index.sense" if text.augment.wordnet else ""
    for folders in text.augment.back_translation.values():
        yield from (folder.partition(" >>")[0] for folder in folders)


def _files(path: Path) -> list[Path]:
    """The file, or those in the folder; none where there is nothing of that name."""
    if path == Path():
        return []
    return [path] if path.is_file() else sorted(part for part in path.rglob("*") if part.is_file())


def _mark(path: Path) -> str:
    about = path.stat()
    return files.sha256(path) if about.st_size <= LARGE else f"{about.st_size} bytes of {about.st_mtime_ns}"
