"""Trains every stage of a config and exports the result: `python -m pipelines.train --config video`."""

from collections.abc import Sequence

from pipelines import arguments, stages
from tfrec_llm import evaluation


def main(argv: Sequence[str] | None = None) -> None:
    """Raw files -> `<run>/export/<version>`; a stage whose inputs have not changed is skipped.

    Args:
      argv: command-line arguments, None for the process's own.
    """
    parser = arguments.parser(__doc__)
    parser.add_argument("--stage", default="all", help="run this stage again, and those after it that depend on it")
    options = parser.parse_args(argv)
    config, run = arguments.read(options)
    stages.run_stages(config, run, again=options.stage)
    evaluation.print_table(evaluation.read_report(run / "metrics.json"))
    where = f" RUN={options.run}" if options.run else ""
    print(f"export: {run / 'export'}    next: make eval CONFIG={options.config}{where}")


if __name__ == "__main__":
    arguments.program(main)
