"""The whole flow on synthetic data, from nothing: prepare, train, export, evaluate, recommend, simulate."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from pipelines import arguments, evaluate, recommend, simulate, train


def main(argv: Sequence[str] | None = None) -> None:
    """Runs every program on `smoke.toml` in a fresh run folder.

    Args:
      argv: an optional run folder; `runs/smoke` by default.
    """
    parser = arguments.parser(__doc__)
    parser.set_defaults(config="smoke", run=Path("runs/smoke"))
    options = parser.parse_args(argv)
    shutil.rmtree(options.run, ignore_errors=True)
    shared = ["--config", options.config, "--run", str(options.run)] + (["--set", *options.set] if options.set else [])
    start = time.monotonic()
    train.main(shared)
    evaluate.main([*shared, "--set", "evaluate.split=test"])
    recommend.main([*shared, "--user", "user 1", "--text", "something funny for tonight"])
    simulate.main(shared)
    print(f"smoke: the whole flow in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    arguments.program(main)
