"""Judges a run by the protocol, or makes the cells of an experiment.

`python -m pipelines.evaluate --config video --set evaluate.split=test`; with `--baselines` those alone, untrained;
`python -m pipelines.evaluate --suite text_methods --cells lora,full`.
"""

from collections.abc import Sequence

from pipelines import arguments, judged, stages, suite, summary
from tfrec_llm import evaluation, training


def main(argv: Sequence[str] | None = None) -> None:
    """Finished stages -> figures in `<run>/metrics.json` and a table; or a suite -> `results/<suite>/<cell>.json`.

    Args:
      argv: command-line arguments, None for the process's own.

    Raises:
      ValueError: `--suite` together with `--set`: the suite's TOML says what its cells are.
    """
    parser = arguments.parser(__doc__)
    parser.add_argument("--suite", default="", help="a name in pipelines/suites/: makes its missing cells")
    parser.add_argument("--cells", default="", help="with --suite: only these, e.g. lora,full-2 (default: all)")
    parser.add_argument("--baselines", action="store_true", help="judge the baselines alone: nothing is trained")
    parser.add_argument("--segments", action="store_true", help="print the figures of segments too")
    options = parser.parse_args(argv)
    if options.suite:
        if options.set:
            raise ValueError(f"--set: expected none beside --suite; change {options.suite}.toml instead.")
        suite.run_suite(options.suite, [name for name in options.cells.split(",") if name])
        print("\n".join(summary.table(suite.load_suite(options.suite), suite.kept_cells(options.suite))))
        return
    config, run = arguments.read(options)
    training.set_threads(config.train)
    if options.baselines:
        stages.run_stages(config, run, upto="data")
        judged.judge_baselines(config, run)
    else:
        judged.judge_run(config, run)
    evaluation.print_table(evaluation.read_report(run / "metrics.json"), with_segments=options.segments)
    print(f"metrics: {run / 'metrics.json'}")


if __name__ == "__main__":
    arguments.program(main)
