"""Lets the run's agent learn in small worlds with a known optimum, and judges sessions of a finished run.

`python -m pipelines.simulate --config video`; with `--set simulate.server=http://127.0.0.1:8500` simulated users ask a
running server instead, and `simulate.crowd_sessions` lets a finished run learn in a simulated crowd.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines import arguments, crowd, drive, sessions, stages
from tfrec_llm import evaluation, ranking, training
from tfrec_llm.config import Config


def main(argv: Sequence[str] | None = None) -> None:
    """Rewards and regrets -> `<run>/metrics.json`, curves -> TensorBoard.

    Args:
      argv: command-line arguments, None for the process's own.
    """
    config, run = arguments.read(arguments.parser(__doc__).parse_args(argv))
    training.set_threads(config.train)
    if config.simulate.server:  # nothing else: the server wants the cores
        metrics = drive.drive(config, run, stages.load_dataset(run))
        evaluation.merge_report(run / "metrics.json", metrics)
        return
    for world in config.simulate.worlds:
        metrics = ranking.simulate(config, world, run / "tensorboard" / "simulate")
        evaluation.merge_report(run / "metrics.json", metrics)
    if config.simulate.session_users and (run / "ranking" / "agent.json").exists():
        dataset = stages.load_dataset(run)
        with tempfile.TemporaryDirectory() as scratch:
            metrics = sessions.judge_run_sessions(config, run, dataset, Path(scratch))
        evaluation.merge_report(run / "metrics.json", metrics)
    if config.simulate.crowd_sessions:
        dataset = stages.load_dataset(run)
        with tempfile.TemporaryDirectory(dir=run) as scratch:
            metrics = crowd.judge_crowd(config, run, dataset, Path(scratch))
        evaluation.merge_report(run / "metrics.json", metrics)
    evaluation.print_table(evaluation.read_report(run / "metrics.json"))


def study(config: Config) -> dict[str, Any]:
    """The config's agent in its worlds, as the report of a suite's cell."""
    training.set_threads(config.train)
    metrics = {}
    with evaluation.measure() as used, tempfile.TemporaryDirectory() as logs:
        for world in config.simulate.worlds:
            metrics |= ranking.simulate(config, world, Path(logs))
    return {"metrics": metrics | evaluation.usage_entries("simulate", used), "protocol": {}, "run": {}}


if __name__ == "__main__":
    arguments.program(main)
