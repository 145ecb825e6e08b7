"""Writes the next version of a run's SavedModel: `python -m pipelines.export --config video`."""

from collections.abc import Sequence

from pipelines import arguments, stages
from tfrec_llm import serving


def main(argv: Sequence[str] | None = None) -> None:
    """Finished stages -> `<run>/export/<next version>`.

    Args:
      argv: command-line arguments, None for the process's own.
    """
    config, run = arguments.read(arguments.parser(__doc__).parse_args(argv))
    stages.run_stages(config, run, again="export")
    print(f"export: version {serving.served_version(run / 'export')} in {run / 'export'}")


if __name__ == "__main__":
    arguments.program(main)
