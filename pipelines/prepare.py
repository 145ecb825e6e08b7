"""Fetches and prepares the data of a config: `python -m pipelines.prepare --config video`."""

from collections.abc import Sequence

from pipelines import arguments, stages


def main(argv: Sequence[str] | None = None) -> None:
    """Raw files -> `<run>/data`.

    Args:
      argv: command-line arguments, None for the process's own.
    """
    config, run = arguments.read(arguments.parser(__doc__).parse_args(argv))
    stages.run_stages(config, run, upto="data")
    print(f"data: {run / 'data'}")


if __name__ == "__main__":
    arguments.program(main)
