"""Judges a run by the protocol: `python -m pipelines.evaluate --config video --set evaluate.split=test`."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipelines import arguments, judged, stages
from tfrec_llm import serving, training
from tfrec_llm.evaluation import report, resources


def main(argv: Sequence[str] | None = None) -> None:
    """Finished stages -> figures in `<run>/metrics.json` and a table.

    Args:
      argv: command-line arguments, None for the process's own.
    """
    config, run = arguments.read(arguments.parser(__doc__).parse_args(argv))
    training.set_threads(config.train)
    dataset = stages.load_dataset(run)
    with tempfile.TemporaryDirectory() as scratch, resources.measure() as used:
        recommender = serving.load_recommender(config, dataset, run, Path(scratch))
        metrics = judged.all_figures(config, dataset, recommender)
    metrics |= resources.entries("evaluate", used)
    report.merge(
        run / "metrics.json", metrics, dataset.protocol | {"seeds": [config.seed]}, resources.run_info(config.seed)
    )
    title = f"{run}: {config.evaluate.split}"
    print(report.table(report.read(run / "metrics.json"), title=title))
    print(f"metrics: {run / 'metrics.json'}")


if __name__ == "__main__":
    arguments.program(main)
