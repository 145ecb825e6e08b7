"""Keeps a run's figures in the repository and writes the tables of README.md and results/README.md from them.

`python -m pipelines.publish --config video --command "..."` copies `runs/video/metrics.json` to
`results/quick/video.json`, with command, date and hardware; without a finished run it only writes the tables again.
"""

import datetime
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines import arguments, asked, summary
from pipelines import suite as suites
from pipelines.benches import rounds
from tfrec_llm import evaluation
from tfrec_llm.training import files

ROOT = Path(__file__).parents[1]
SUITE = ROOT / "results" / "quick"
README, EXPERIMENTS = ROOT / "README.md", ROOT / "results" / "README.md"
ASKED_BEGIN, ASKED_END = "<!-- asked:begin -->\n", "<!-- asked:end -->"
BEGIN, END = "<!-- results:begin -->\n", "<!-- results:end -->"
SUITES_BEGIN, SUITES_END = "<!-- suites:begin -->\n", "<!-- suites:end -->"
BENCH, BENCH_BEGIN, BENCH_END = ROOT / "results" / "bench.json", "<!-- bench:begin -->\n", "<!-- bench:end -->"
PARTS = ("system", "blend", "behaviour", "retrieval")
BASELINES = (
    "ease_recency", "ease", "item_knn", "matrix_factorisation", "text_knn_recency", "text_knn", "own_frequent",
    "popularity", "random",
)  # fmt: skip
WITH_WORDS = ("system_with_utterance", "control.utterance_only", "control.utterance_random")
COLUMNS = ("ndcg@10", "hr@10", "recall@100")
LISTS = ("novelty@10", "diversity@10", "popularity_share@10", "coverage@10", "gini@10")


def main(argv: Sequence[str] | None = None) -> None:
    """Copies the figures of a run, then writes the tables.

    Args:
      argv: command-line arguments, None for the process's own.
    """
    parser = arguments.parser(__doc__)
    parser.add_argument("--command", default="", help="the command that made the figures; empty: only the tables")
    parser.add_argument("--bench", type=Path, help="a bench.json of `make bench`, whose ratios are kept")
    options = parser.parse_args(argv)
    if options.command:
        _, run = arguments.read(options)
        cell = evaluation.read_report(run / "metrics.json")
        about = {"command": options.command, "date": datetime.date.today().isoformat(), "cores": os.cpu_count()}
        SUITE.mkdir(parents=True, exist_ok=True)
        files.write_json(SUITE / f"{run.name}.json", {**cell, "about": about})
    if options.bench:
        keep_bench(files.read_json(options.bench))
    for path, text in written().items():
        files.write_text(path, text)
        print(f"tables: {path}")


def written() -> dict[Path, str]:
    """Page -> its text with all tables written anew."""
    front = with_asked(with_bench(with_tables(README.read_text("utf-8"), read_cells())))
    return {README: front, EXPERIMENTS: with_suites(EXPERIMENTS.read_text("utf-8"))}


def read_cells() -> dict[str, dict[str, Any]]:
    """name -> what `publish` kept of that run."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(SUITE.glob("*.json"))[::-1]}


def with_tables(text: str, cells: Mapping[str, Mapping]) -> str:
    """The README with its tables written anew."""
    return _between(text, BEGIN, END, "\n".join(section(name, cell) for name, cell in cells.items()))


def with_asked(text: str) -> str:
    """The README with the table of what was asked and measured written anew."""
    lines = asked.table(asked.Figures(suites.RESULTS))
    return _between(text, ASKED_BEGIN, ASKED_END, "\n".join([*lines, ""]))


def with_suites(text: str) -> str:
    """The page of the experiments with the tables of all that have cells in `results/` written anew."""
    names = sorted(path.stem for path in suites.SUITES.glob("*.toml"))
    parts = [suite_section(name) for name in names if (suites.RESULTS / name).is_dir() and suites.kept_cells(name)]
    return _between(text, SUITES_BEGIN, SUITES_END, "\n".join(parts))


def keep_bench(entries: Mapping[str, Mapping]) -> None:
    """Keeps what a bench measured, with the day and the machine; what did not change keeps its day."""
    known = files.read_json(BENCH) if BENCH.exists() else {}
    now = {"date": datetime.date.today().isoformat(), "device": evaluation.run_info(0)["device"]}
    fresh = {key: {**entry, "about": now} for key, entry in entries.items()}
    kept = {key for key, entry in fresh.items() if known.get(key, {}) | {"about": now} == entry}
    files.write_json(BENCH, known | {key: entry for key, entry in fresh.items() if key not in kept})


def with_bench(text: str) -> str:
    """The README with the table of `make bench` written anew."""
    entries = files.read_json(BENCH)
    days = sorted({entry["about"]["date"] for entry in entries.values()})
    machines = ", ".join(sorted({entry["about"]["device"] for entry in entries.values()}))
    when = " to ".join(dict.fromkeys((days[0], days[-1])))
    head = f"`make bench`, {when}, {machines}; ratios above 1 are better for us."
    alone = rounds.markdown_alone(entries)
    lines = [head, "", *rounds.markdown(entries), "", *([*alone, ""] if alone else [])]
    return _between(text, BENCH_BEGIN, BENCH_END, "\n".join(lines))


def suite_section(name: str) -> str:
    """One experiment's table with where it comes from."""
    suite, cells = suites.load_suite(name), suites.kept_cells(name)
    made = f"`python -m pipelines.evaluate --suite {name}`, {summary.origin(cells)}"
    judged = f", protocol {mark}" if (mark := summary.protocols(cells)) else ""
    head = f"**{name}**: {suite.about}. {made}{judged}; test rows, 95 % intervals over seeds where there are several."
    return "\n".join([head, "", *summary.table(suite, cells), "", ""])


def _between(text: str, begin: str, end: str, middle: str) -> str:
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"expected a page with the lines {begin.strip()} and {end}, found none; put them back.")
    return before + begin + middle + end + after


def section(name: str, cell: Mapping[str, Any]) -> str:
    """One run's tables with where they come from."""
    metrics, protocol, run, about = cell["metrics"], cell["protocol"], cell["run"], cell["about"]
    lines = [
        f"**{name}**: {protocol['dataset']}, {protocol['users']:,} users, {protocol['items']:,} items, "
        f"{protocol['interactions']:,} interactions, protocol {protocol['sha256'][:12]}. "
        f"`{about['command']}`, {about['date']}, {run['device']}, {about['cores']} cores, "
        f"seed {', '.join(map(str, protocol['seeds']))}; intervals over users.",
        "",
        *_answers_table(metrics),
        "",
        *_lists_table(metrics, run.get("diversity_by", "")),
    ]
    return "\n".join([*lines, *_sessions(metrics), *_text_table(metrics), "", _costs(metrics), "", ""])


def _rows(metrics: Mapping[str, Mapping], metric: str) -> list[str]:
    """What has a metric: the system and its parts, the baselines (those of other packages last), what words do."""
    end = f".{metric}"
    others = [key.removesuffix(end) for key in metrics if key.startswith("baseline.") and key.endswith(end)]
    known = [f"baseline.{name}" for name in BASELINES]
    rows = dict.fromkeys((*PARTS, *known, *sorted(others), *WITH_WORDS))
    return [row for row in rows if f"{row}{end}" in metrics]


def _answers_table(metrics: Mapping[str, Mapping]) -> list[str]:
    """How often the lists are right, and whether the system is better than each row, query by query."""
    compared = any(key.startswith(evaluation.gain_key("")) for key in metrics)
    heads = ["test", *COLUMNS, *([f"the system's {COLUMNS[0]} less the row's"] if compared else [])]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in _rows(metrics, COLUMNS[0]):
        cells = [row, *(_cell(metrics.get(f"{row}.{column}")) for column in COLUMNS)]
        gain = metrics.get(evaluation.gain_key(f"{row}.{COLUMNS[0]}"))
        if compared:
            cells.append(f"{_cell(gain)} {evaluation.verdict(gain)}" if gain else "")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _lists_table(metrics: Mapping[str, Mapping], diversity_by: str) -> list[str]:
    """What the lists are made of; nothing for figures from before this was measured."""
    rows = _rows(metrics, LISTS[0])
    if not rows:
        return []
    heads = ["lists of ten, test", *LISTS]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        found = [metrics.get(f"{row}.{column}") for column in LISTS]
        cells = [f"{entry['value']:.3f}" if entry else "" for entry in found]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    by = f"; diversity by the items' {diversity_by}" if diversity_by else ""
    return [*lines, "", f"Novelty in bits, popularity_share of the head fifth of the items{by}.", ""]


def _sessions(metrics: Mapping[str, Mapping]) -> list[str]:
    """What judged sessions brought; nothing where none were judged."""
    gains = [f"ranking.session.gain|drift_{factor}" for factor in (0, 1, 2)]
    if not all(key in metrics for key in gains):
        return []
    form = "{:+.1f} % [{:.1f}, {:.1f}]"
    at = [form.format(*(100 * value for value in (metrics[key]["value"], *metrics[key]["ci95"]))) for key in gains]
    changed, users = metrics["ranking.session.changed_share"]["value"], metrics[gains[1]]["n"]
    judge = metrics["ranking.simulator.judge.auc"]["value"]
    logged = _logged(metrics)
    return [
        f"Judged sessions of {users:,} users, the policy with its exploration against the blend's order: reward "
        f"{at[1]}; {at[0]} without drift, boredom and leaving, {at[2]} with twice as much of them. It changes "
        f"{100 * changed:.0f} % of the lists.{logged} AUC of the judge {judge:.3f} on held-out training events.",
        "",
    ]


def _logged(metrics: Mapping[str, Mapping]) -> str:
    """What session lists lose in answering what came next in the log; "" where that was not judged."""
    found = {key.split(".")[2]: key for key in metrics if key.startswith("ranking.session.") and ".ndcg@" in key}
    ours = [name for name in found if name not in ("blend", "greedy")]
    if "blend" not in found or len(ours) != 1:
        return ""
    mine, theirs = (metrics[found[name]]["value"] for name in (ours[0], "blend"))
    metric = found["blend"].rpartition(".")[2]
    return (
        f" Its lists, exploration and all, find what came next in the log with {metric} {mine:.3f}, the blend's with "
        f"{theirs:.3f}."
    )


def _text_table(metrics: Mapping[str, Mapping]) -> list[str]:
    """Accuracies of the text heads."""
    lines = ["| text head, test | accuracy | F1 | rows |", "|---|---|---|---|"]
    for key, entry in metrics.items():
        corpus, _, metric = key.removeprefix("text.").rpartition(".")
        if key.startswith("text.") and metric in ("accuracy", "micro_f1"):
            if metric == "accuracy" and f"text.{corpus}.micro_f1" in metrics:
                continue
            other = f"text.{corpus}.macro_f1"
            f1 = f"macro {metrics[other]['value']:.3f}" if other in metrics else ""
            if metric == "micro_f1":
                f1 = f"micro {entry['value']:.3f}"
                entry = metrics.get(f"text.{corpus}.accuracy", entry)
            lines.append(f"| {corpus} | {entry['value']:.3f} | {f1} | {entry['n']:,} |")
    return lines


def _costs(metrics: Mapping[str, Mapping]) -> str:
    """Time and memory of every stage, in one line."""
    stages = [key.removeprefix("seconds.") for key in metrics if key.startswith("seconds.") and key.count(".") == 1]
    peak = max(entry["value"] for key, entry in metrics.items() if key.startswith("peak_memory_gb."))
    each = ", ".join(f"{stage} {metrics[f'seconds.{stage}']['value']:.0f}" for stage in stages)
    total = sum(metrics[f"seconds.{stage}"]["value"] for stage in stages if stage not in ("evaluate", "rivals"))
    return f"Seconds: {each}; training in all {total / 60:.1f} minutes. Peak memory {peak:.1f} GB."


def _cell(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return ""
    interval = " [{:.3f}, {:.3f}]".format(*entry["ci95"]) if entry["ci95"] else ""
    return f"{entry['value']:.4f}{interval}"


if __name__ == "__main__":
    arguments.program(main)
