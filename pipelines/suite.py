"""Experiments: `pipelines/suites/<name>.toml` -> cells of config x seed, each kept as `results/<name>/<cell>.json`.

A cell that is kept is not made again; an interrupted one goes on in its run folder `runs/suites/<name>/<cell>`.
"""

import datetime
import functools
import json
import logging
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pipelines import checks, judged, stages
from pipelines.studies import STUDIES
from tfrec_llm import evaluation
from tfrec_llm.config import Config, ConfigError, build, setting, to_table
from tfrec_llm.training import files

log = logging.getLogger(__name__)
ROOT = Path(__file__).parents[1]
SUITES, RESULTS, RUNS = ROOT / "pipelines" / "suites", ROOT / "results", ROOT / "runs" / "suites"
MINUTES = 45  # a cell may take
STAGES = (*stages.ORDER, "baselines", "evaluate", *STUDIES)
JUDGES = {  # where a cell may stop and be judged -> after which stage, by what
    "baselines": ("text", judged.judge_baselines),
    "behaviour": ("behaviour", functools.partial(judged.judge_models, upto="behaviour")),
    "retrieval": ("retrieval", functools.partial(judged.judge_models, upto="retrieval")),
    "evaluate": ("export", judged.judge_run),
}


@dataclass(frozen=True)
class Suite:
    """One experiment, as its TOML says it."""

    about: str = setting("", "what it shows, one sentence")
    upto: str = setting(
        "evaluate",
        "the last stage of a cell; behaviour and retrieval are judged alone, baselines after the text stage; "
        "or a study of pipelines.studies",
        choices=STAGES,
    )
    seeds: tuple[int, ...] = setting((1,), "of each cell")
    columns: tuple[str, ...] = setting(
        (), "metric keys of the table, * for all names of a part, {corpus} and {cell} for the cell's own", low=1
    )
    against: str = setting("", "the cell that the others are compared with, seed by seed; empty = none")
    base: Mapping[str, Any] = setting({}, "sections of a config that all cells share")
    cells: Mapping[str, Mapping[str, Any]] = setting({}, "name -> sections that differ from the base")


class Cell(NamedTuple):
    """One config with one seed."""

    suite: str
    variant: str
    config: Any  # a Config, or that of a study

    @property
    def name(self) -> str:
        """Of its file and its run folder."""
        return f"{self.variant}-{self.config.seed}"


def load_suite(name: str) -> Suite:
    """A suite by its name.

    Raises:
      ConfigError: no such suite, or one that does not fit.
    """
    path = SUITES / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in SUITES.glob("*.toml")))
        raise ConfigError(f"--suite: expected one of {known}, got {name!r}.")
    suite = build(Suite, tomllib.loads(path.read_text("utf-8")), where=str(path))
    if suite.against and suite.against not in suite.cells:
        raise ConfigError(f"{path}: against: expected one of {', '.join(suite.cells)}, got {suite.against!r}.")
    return suite


def all_cells(name: str, only: Sequence[str] = ()) -> list[Cell]:
    """The cells of a suite, seed by seed, so that whatever is finished first compares all of them.

    Args:
      name: of the suite.
      only: names of cells, with or without a seed; none = all.

    Raises:
      ConfigError: no such suite or cell, or settings that do not fit.
    """
    suite, found = load_suite(name), []
    kind = STUDIES[suite.upto].config if suite.upto in STUDIES else Config
    for seed in suite.seeds:
        for variant, changes in suite.cells.items():
            table = merged(suite.base, {**changes, "seed": seed})
            found.append(Cell(name, variant, build(kind, table, where=f"suite {name}: {variant}")))
    known = {part for cell in found for part in (cell.variant, cell.name)}
    if unknown := sorted(set(only) - known):
        raise ConfigError(f"--cells: expected some of {', '.join(suite.cells)}, got {', '.join(unknown)}.")
    return [cell for cell in found if not only or {cell.variant, cell.name} & set(only)]


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, table by table; a table with a `name` replaces the other as a whole."""
    result = dict(base)
    for key, value in changes.items():
        deeper = isinstance(value, Mapping) and isinstance(result.get(key), Mapping) and "name" not in value
        result[key] = merged(result[key], value) if deeper else value
    return result


def kept(cell: Cell) -> Path:
    """Where a cell's figures are kept."""
    return RESULTS / cell.suite / f"{cell.name}.json"


def run_suite(name: str, only: Sequence[str] = ()) -> None:
    """Makes the cells that are not kept yet; several of them each in a process of its own.

    Args:
      name: of the suite.
      only: names of cells; none = all.

    Raises:
      ConfigError: see `all_cells`.
    """
    cells, pending = all_cells(name, only), []
    for cell in cells:
        if not kept(cell).exists():
            pending.append(cell)
        elif _read(kept(cell))["settings"] != _plain(cell.config):
            log.warning("%s was made with other settings; delete it to make it anew.", kept(cell))
    log.info("suite %s: %d of %d cells are kept.", name, len(cells) - len(pending), len(cells))
    for cell in pending:
        if len(pending) == 1:
            run_cell(cell)
        else:
            _run_apart(cell)


def _run_apart(cell: Cell) -> None:
    """One cell in a process of its own, stopped when its time is over; the next ones go on whatever happens."""
    command = [sys.executable, "-m", "pipelines.evaluate", "--suite", cell.suite, "--cells", cell.name]
    log.info("suite %s: %s", cell.suite, cell.name)
    try:
        status = subprocess.run(command, cwd=ROOT, timeout=60 * MINUTES, check=False).returncode
    except subprocess.TimeoutExpired:
        status = f"over {MINUTES} minutes"
    if status:
        log.warning("suite %s: %s failed (%s); the same command goes on with it.", cell.suite, cell.name, status)


def run_cell(cell: Cell) -> None:
    """Runs the stages of a cell and keeps its figures.

    Args:
      cell: of `all_cells`.
    """
    start, upto = time.monotonic(), load_suite(cell.suite).upto
    report = STUDIES[upto].report(cell.config) if upto in STUDIES else _run_stages(cell, upto)
    about = {
        "command": f"python -m pipelines.evaluate --suite {cell.suite} --cells {cell.name}",
        "date": datetime.date.today().isoformat(),
        "cores": os.cpu_count(),
        "seconds": round(time.monotonic() - start, 1),
        "suite": cell.suite,
        "cell": cell.variant,
    }
    report["run"] |= evaluation.run_info(cell.config.seed)
    kept(cell).parent.mkdir(parents=True, exist_ok=True)
    files.write_json(kept(cell), {**report, "about": about, "settings": _plain(cell.config)})
    log.info("suite %s: %s took %.0f s, kept as %s", cell.suite, cell.name, about["seconds"], kept(cell))


def _folder(cell: Cell) -> Path:
    return RUNS / cell.suite / cell.name


def _make_origin(cell: Cell) -> None:
    """Trains the cell whose run this one starts from (`train.init_from`), where its run folder is not there any more.

    A suite lists that cell first, so that it has been made, unless only its figures came with the repository.
    """
    named = {_folder(other).resolve(): other for other in all_cells(cell.suite)}
    origin = named.get((ROOT / cell.config.train.init_from).resolve())
    if origin is not None and not (_folder(origin) / "retrieval").is_dir():
        log.info("suite %s: %s first, from which %s starts", cell.suite, origin.name, cell.name)
        stages.run_stages(origin.config, _folder(origin), upto="retrieval")


def check_cell(cell: Cell) -> None:
    """Refuses a cell whose names or settings do not fit, before anything is made.

    Args:
      cell: of `all_cells`.

    Raises:
      ConfigError: an unknown name or setting.
    """
    upto = load_suite(cell.suite).upto
    (STUDIES[upto].check if upto in STUDIES else checks.check)(cell.config)


def _run_stages(cell: Cell, upto: str) -> dict[str, Any]:
    """The report of a run of the stages."""
    run = _folder(cell)
    _make_origin(cell)
    last, judge = JUDGES.get(upto, (upto, None))
    stages.run_stages(cell.config, run, upto=last)
    if judge is not None:
        judge(cell.config, run)
    return evaluation.read_report(run / "metrics.json")


def kept_cells(name: str) -> dict[str, list[dict[str, Any]]]:
    """Variant -> what is kept of its seeds, in the order of the suite; variants without any are left out."""
    found = {variant: [] for variant in load_suite(name).cells}
    for cell in all_cells(name):
        if kept(cell).exists():
            found[cell.variant].append(_read(kept(cell)))
    return {variant: cells for variant, cells in found.items() if cells}


def _plain(config: Config) -> dict[str, Any]:
    return json.loads(json.dumps(to_table(config)))


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))
