"""What every program takes: `--config --run --set`, and how every program fails: one sentence, no traceback."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tfrec_llm import config as configs

CONFIGS = Path(__file__).parent / "configs"


def parser(description: str) -> argparse.ArgumentParser:
    """A parser with the three arguments that all programs share.

    Args:
      description: what `--help` says first.
    """
    result = argparse.ArgumentParser(description=description)
    result.add_argument("--config", default="video", help="a name in pipelines/configs/, or a path to a TOML")
    result.add_argument("--run", type=Path, help="the run folder (default: runs/<name of the config>)")
    result.add_argument(
        "--set", nargs="*", default=[], action="extend", metavar="SECTION.KEY=VALUE", help="settings that override it"
    )
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
    return configs.load(path, arguments.set), run


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
        sys.exit("interrupted: the finished stages are kept; the same command goes on where it stopped.")
    except (ValueError, OSError) as error:
        if os.environ.get("TFREC_LLM_DEBUG"):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
