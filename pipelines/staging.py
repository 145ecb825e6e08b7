"""One measured stage of a run, and what it depends on: how `stages` and `refit` make all of theirs."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfrec_llm import evaluation, training
from tfrec_llm.config import Config, to_table


def make_stage(
    run: Path, name: str, inputs: Mapping[str, Any], build: Callable[[training.Stage], Mapping | None], force: bool
) -> str:
    """One measured stage: `build`'s metrics, seconds and peak memory go into metrics.json when it really ran.

    A stage in two parts is named `stage/part`; both have their own seconds, and the stage has their sum.
    """

    def measured(stage: training.Stage) -> None:
        with evaluation.measure() as used:
            metrics = build(stage) or {}
        report = run / "metrics.json"
        evaluation.merge_report(report, {**metrics, **evaluation.usage_entries(name.replace("/", "."), used)})
        _add_up(report, name.partition("/")[0])

    return training.run_stage(run, name, inputs, measured, force=force)


def _add_up(report: Path, stage: str) -> None:
    """Seconds of a stage from those of its parts (their sum), and its peak memory (their largest)."""
    known = evaluation.read_report(report)["metrics"]
    for measure, join in (("seconds", sum), ("peak_memory_gb", max)):
        parts = [entry["value"] for key, entry in known.items() if key.startswith(f"{measure}.{stage}.")]
        if parts:
            entry = evaluation.entry(join(parts), 1, "train", over="seeds")
            evaluation.merge_report(report, {f"{measure}.{stage}": entry})


def inputs_of(config: Config, *sections: str, start: str = "", **more: Any) -> dict[str, Any]:
    """What a stage depends on: the seed, sections of the config, finished stages before it, where its weights start."""
    config = replace(config, train=replace(config.train, refit=False))  # a row of its own, see `refit`
    origin = training.find_origin(config.train) if start else None
    started = {} if origin is None else {"start": origin.fingerprints[start]}
    return {"seed": config.seed} | {name: to_table(getattr(config, name)) for name in sections} | started | more
