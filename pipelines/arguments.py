"""What every program takes: `--config --run --set`, and how every program fails: one sentence, no traceback."""

import argparse
import itertools
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tfrec_llm import config as configs

CONFIGS = Path(__file__).parent / "configs"
CONFIG = "config.toml"  # the settings that a run folder was made with
KEY = re.compile(r"[a-z_][\w.]*=")
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
    _check_run(run, path)
    return configs.load(path, [one for several in arguments.set for one in settings_of(several)]), run


def settings_of(text: str) -> list[str]:
    """The settings in a text: a new one begins where white space is followed by `key=`, outside brackets and quotes."""
    starts, depth, quote, before = [0], 0, "", ""
    for place, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and (depth or before == "="):
            quote = character
        elif depth <= 0 and before.isspace() and KEY.match(text, place):
            starts.append(place)
        depth += 0 if quote else (character in "[{") - (character in "]}")
        before = character
    parts = [text[start:end].strip() for start, end in itertools.pairwise([*starts, len(text)])]
    return [part for part in parts if part]


def _folder(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError("expected a folder, got an empty name")
    return Path(text)


def _check_run(run: Path, config: Path) -> None:
    """Refuses a run folder in which something of the user's own would be written over."""
    if run.exists() and not run.is_dir():
        raise ValueError(f"--run: expected a folder or a new name, got the file {run}; give another name.")
    kept = run / CONFIG
    if kept.exists() and kept.samefile(config) and not (run / "data" / "stage.json").exists():
        raise ValueError(
            f"--run: expected another folder than that of your config {config}, since a run keeps its settings there "
            f"as {CONFIG}; name another folder, or the file."
        )
    if run.is_dir() and not kept.exists() and any(run.iterdir()):
        raise ValueError(f"--run: expected a run folder, an empty one or a new name, got {run}, which holds no run.")


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
        lack = (
            "not enough memory; lower the batch sizes or widths of the stage that failed: " if _of_memory(error) else ""
        )
        print(f"error: {lack}{str(error).splitlines()[0] if lack else error}", file=sys.stderr)
        sys.exit(2)


def _of_memory(error: Exception) -> bool:
    return type(error).__name__ in MEMORY
