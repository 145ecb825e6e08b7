"""Judges a run by the protocol: `python -m pipelines.evaluate --config video --set evaluate.split=test`."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipelines import arguments, judged, stages
from tfrec_llm import evaluation, serving, training


def main(argv: Sequence[str] | None = None) -> None:
    """Finished stages -> figures in `<run>/metrics.json` and a table.

    Args:
      argv: command-line arguments, None for the process's own.
    """
    config, run = arguments.read(arguments.parser(__doc__).parse_args(argv))
    training.set_threads(config.train)
    dataset = stages.load_dataset(run)
    with tempfile.TemporaryDirectory() as scratch, evaluation.measure() as used:
        recommender = serving.load_recommender(config, dataset, run, Path(scratch))
        metrics = judged.all_figures(config, dataset, recommender)
    metrics |= evaluation.usage_entries("evaluate", used)
    protocol = {**dataset.protocol, "seeds": [config.seed]}
    evaluation.merge_report(run / "metrics.json", metrics, protocol, evaluation.run_info(config.seed))
    evaluation.print_table(evaluation.read_report(run / "metrics.json"))
    print(f"metrics: {run / 'metrics.json'}")


if __name__ == "__main__":
    arguments.program(main)
