"""Serves a run over HTTP: `python -m pipelines.serve --config video --set serving.port=8500`."""

from collections.abc import Sequence

from pipelines import arguments
from tfrec_llm.serving import server


def main(argv: Sequence[str] | None = None) -> None:
    """Answers until it is interrupted.

    Args:
      argv: command-line arguments, None for the process's own.
    """
    config, run = arguments.read(arguments.parser(__doc__).parse_args(argv))
    server.run_server(run, config.serving)


if __name__ == "__main__":
    arguments.program(main)
