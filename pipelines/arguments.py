"""What every program takes: `--config --run --set`, and how every program fails: one sentence, no traceback."""

import argparse
import dataclasses
import itertools
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tfrec_llm import config as configs

CONFIGS = Path(__file__).parent / "configs"
LACK = "expected enough memory, got too little; lower the batch size, widths or lengths of the stage that failed."
_KEY = re.compile(r"(([a-z_]\w*)[\w.]*)=")
_SECTIONS = {field.name for field in dataclasses.fields(configs.Config)}
MEMORY = ("MemoryError", "ResourceExhaustedError")  # by name: not every program loads TensorFlow


def parser(description: str) -> argparse.ArgumentParser:
    """A parser with the three arguments that all programs share.

    Args:
      description: what `--help` says first.
    """
    result = argparse.ArgumentParser(description=description)
    result.add_argument("--config", default="video", help="a name in pipelines/configs/, or a path to a TOML")
    result.add_argument("--run", type=_folder, help="the run folder (default: runs/<name of the config>)")
    result.add_argument(
        "--set", nargs="*", default=[], action="extend", metavar="SECTION.KEY=VALUE",
        help="settings that override it; several may stand in one argument",
    )  # fmt: skip
    return result


def read(arguments: argparse.Namespace) -> tuple[configs.Config, Path]:
    """The config and the run folder.

    Args:
      arguments: of `parser`.

    Raises:
      ConfigError: no such config, or one that is not allowed.
      ValueError: the run folder is a file.
    """
    named = CONFIGS / f"{arguments.config}.toml"
    path = named if named.exists() else Path(arguments.config)
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.toml")))
        raise configs.ConfigError(f"config {arguments.config!r}: expected a path to a TOML or one of {names}.")
    run = arguments.run or Path("runs") / path.stem
    if run.exists() and not run.is_dir():
        raise ValueError(f"--run: expected a folder or a new name, got the file {run}; give another name.")
    return configs.load(path, [one for several in arguments.set for one in settings_of(several)]), run


def settings_of(text: str) -> list[str]:
    """The settings in a text.

    A new one begins where white space is followed by a key of the config and "=", but not inside the quotes, list or
    table that the one before it may have as its value.
    """
    starts, place = [0], 0
    while place < len(text):
        if found := _KEY.match(text, place):
            if found[2] in _SECTIONS and (place == 0 or text[place - 1].isspace()):
                starts.append(place)
            place = _end_of_value(text, found.end())
        else:
            place += 1
    parts = [text[start:end].strip() for start, end in itertools.pairwise([*starts, len(text)])]
    return [part for part in parts if part]


def _end_of_value(text: str, start: int) -> int:
    """Where a quoted text, a list or a table ends that begins at `start`; the start itself where none does."""
    depth, quote, place = 0, "", start
    if not text.startswith(("[", "{", '"', "'"), start):
        return start
    while place < len(text):
        character = text[place]
        if quote:
            place += quote == '"' and character == "\\"  # what it escapes is no end
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        else:
            depth += (character in "[{") - (character in "]}")
        place += 1
        if not quote and not depth:
            return place
    return start  # it never ends: what it is, TOML says


def _folder(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError("expected a folder, got an empty name; leave it out, or name one")
    return Path(text)


def program(main: Callable[[Sequence[str] | None], None]) -> None:
    """Runs a program's `main`; what a user can mend ends it with one sentence and exit status 2.

    `TFREC_LLM_DEBUG=1` shows the traceback instead.

    Args:
      main: takes the arguments, None for those of the command line.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("absl", "tensorflow", "urllib3", "transformers"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        main(None)
    except KeyboardInterrupt:
        sys.exit("interrupted: what is finished is kept; the same command goes on where it stopped.")
    except Exception as error:
        if os.environ.get("TFREC_LLM_DEBUG") or not (isinstance(error, ValueError | OSError) or _of_memory(error)):
            raise
        print(f"error: {LACK if _of_memory(error) else error}", file=sys.stderr)
        sys.exit(2)


def _of_memory(error: Exception) -> bool:
    return type(error).__name__ in MEMORY
