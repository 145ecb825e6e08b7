"""Experiments: each TOML loads, cells are made once and go on, tables say what they hold."""

import json
import logging

import pytest

from pipelines import arguments, evaluate, publish, suite, summary
from tfrec_llm.config import ConfigError

NAMES = sorted(path.stem for path in suite.SUITES.glob("*.toml"))
TINY = """
about = "two cells of the text stage alone"
upto = "text"
seeds = [1, 2]
against = "plain"
columns = ["text.domain.*", "text.trained_share"]
[base.data]
source = "synthetic"
synthetic_users = 40
synthetic_items = 20
synthetic_events = 10
[base.text]
encoder = "tiny"
engine = "tensorflow"
corpora = []
epochs = 1
domain_rows = 100
[base.text.slots]
rows = 0
predict = false
[cells]
plain = {}
linear.text.hidden = 0
"""


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A suite "tiny" whose results and runs go to folders of the test."""
    for name in ("SUITES", "RESULTS", "RUNS"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(suite, name, tmp_path / name)
    (tmp_path / "SUITES" / "tiny.toml").write_text(TINY)
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_every_suite_loads_and_its_cells_name_what_exists(name):
    cells = suite.all_cells(name)
    assert len({cell.name for cell in cells}) == len(cells) > 0
    for cell in cells:
        suite.check_cell(cell)
    assert suite.load_suite(name).about


def test_tables_are_merged_and_parts_with_a_name_replaced():
    base = {"text": {"epochs": 1, "finetuning": {"name": "lora", "rank": 8}}}
    assert suite.merged(base, {"text": {"finetuning": {"name": "full"}}}) == {
        "text": {"epochs": 1, "finetuning": {"name": "full"}}
    }
    assert suite.merged(base, {"text": {"epochs": 2}})["text"]["finetuning"]["rank"] == 8


def test_a_cell_is_kept_with_all_that_makes_it_again_and_not_made_twice(tiny, caplog, capsys):
    evaluate.main(["--suite", "tiny", "--cells", "linear-2"])
    path = tiny / "RESULTS" / "tiny" / "linear-2.json"
    cell = json.loads(path.read_text("utf-8"))
    assert cell["settings"]["text"]["hidden"] == 0
    assert cell["settings"]["seed"] == 2 == cell["run"]["seed"]
    assert cell["about"]["command"] == "python -m pipelines.evaluate --suite tiny --cells linear-2"
    assert cell["about"]["seconds"] > 0
    assert cell["run"]["versions"]["tensorflow"]
    assert "text.domain.accuracy" in cell["metrics"]
    assert "| linear | 1 |" in capsys.readouterr().out
    made = path.stat().st_mtime_ns
    with caplog.at_level(logging.INFO):
        evaluate.main(["--suite", "tiny", "--cells", "linear-2"])
    assert path.stat().st_mtime_ns == made
    assert "1 of 1 cells are kept" in caplog.text
    toml = tiny / "SUITES" / "tiny.toml"
    toml.write_text(toml.read_text().replace("epochs = 1", "epochs = 2"))
    evaluate.main(["--suite", "tiny", "--cells", "linear-2"])
    assert "made with other settings" in caplog.text


def test_several_cells_are_made_apart_and_one_that_fails_does_not_stop_the_others(tiny, monkeypatch, caplog):
    asked = []

    def fails_at_first(command, **options):
        asked.append(command[-1])
        return type("Done", (), {"returncode": len(asked) == 1})

    monkeypatch.setattr(suite.subprocess, "run", fails_at_first)
    suite.run_suite("tiny")
    assert asked == ["plain-1", "linear-1", "plain-2", "linear-2"]  # seed by seed
    assert "plain-1 failed" in caplog.text


def test_a_cell_that_starts_from_another_makes_that_first(tiny, monkeypatch):
    monkeypatch.setattr(suite, "ROOT", tiny)
    toml = tiny / "SUITES" / "tiny.toml"
    toml.write_text(TINY + 'started.train.init_from = "RUNS/tiny/plain-1"\n')
    made = []
    monkeypatch.setattr(suite.stages, "run_stages", lambda config, run, upto: made.append((run.name, upto)))
    cells = {cell.name: cell for cell in suite.all_cells("tiny")}
    suite._make_origin(cells["linear-1"])
    assert made == []
    suite._make_origin(cells["started-2"])
    assert made == [("plain-1", "retrieval")]
    (tiny / "RUNS" / "tiny" / "plain-1" / "retrieval").mkdir(parents=True)
    suite._make_origin(cells["started-1"])
    assert len(made) == 1


def test_unknown_suites_cells_and_settings_are_refused(tiny):
    with pytest.raises(ConfigError, match="expected one of tiny, got 'no'"):
        suite.load_suite("no")
    with pytest.raises(ConfigError, match="expected some of plain, linear, got line"):
        suite.all_cells("tiny", ["line"])
    with pytest.raises(ValueError, match="expected none beside --suite"):
        evaluate.main(["--suite", "tiny", "--set", "text.epochs=2"])
    (tiny / "SUITES" / "odd.toml").write_text('columns = ["a.b"]\n[cells]\none.text.width = 3\n')
    with pytest.raises(ConfigError, match="suite odd: one: text: unknown key 'width'"):
        suite.all_cells("odd")
    (tiny / "SUITES" / "odd.toml").write_text('columns = ["a.b"]\nagainst = "two"\n[cells]\none = {}\n')
    with pytest.raises(ConfigError, match="against: expected one of one, got 'two'"):
        suite.load_suite("odd")
    assert arguments.CONFIGS.is_dir()


def cell(seed, value):
    return {"settings": {"seed": seed}, "metrics": {"text.a.macro_f1": {"value": value}}}


def test_means_have_t_intervals_and_gains_are_paired_by_seed():
    # differences .10 and .20: mean .15, standard deviation .0707, half width 12.706 * .0707 / sqrt(2) = .6353
    made = suite.Suite(columns=("text.*.macro_f1",), against="plain")
    cells = {"plain": [cell(1, 0.5), cell(2, 0.6)], "more": [cell(2, 0.8), cell(1, 0.6), cell(3, 0.9)]}
    assert sorted(summary.paired(cells["more"], cells["plain"], "text.a.macro_f1")) == pytest.approx([0.1, 0.2])
    lines = summary.table(made, cells)
    assert lines[0] == "| cell | seeds | text.a.macro_f1 | text.a.macro_f1 against plain |"
    assert lines[3].endswith("| +0.1500 [-0.4853, +0.7853] |")
    assert summary.interval([0.5]) is None
    assert summary.table(made, {}) == ["No cell is kept yet."]


def test_the_readme_gets_the_tables_of_what_is_kept_and_nothing_else_changes(tiny):
    about = {"date": "2026-01-02", "cores": 2, "seconds": 90}
    for seed in (1, 2):
        kept = {"metrics": {"text.trained_share": {"value": 0.5}}, "run": {"device": "a CPU"}, "about": about}
        path = tiny / "RESULTS" / "tiny" / f"plain-{seed}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({**kept, "settings": {"seed": seed}}))
    text = publish.with_suites(f"before\n{publish.SUITES_BEGIN}old\n{publish.SUITES_END}\nafter\n")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "2026-01-02, a CPU, 2 cores, the longest cell 1.5 minutes" in text
    assert "| plain | 2 | 0.5000 [0.5000, 0.5000] |" in text
    with pytest.raises(ValueError, match="suites:begin"):
        publish.with_suites("no markers")


def test_a_column_may_be_of_each_cell_s_own_corpus():
    made = suite.Suite(columns=("text.{corpus}.macro_f1",))
    cells = {}
    for corpus, value in (("a", 0.5), ("b", 0.7)):
        metrics = {f"text.{corpus}.macro_f1": {"value": value}, "text.domain.macro_f1": {"value": 0.1}}
        cells[corpus] = [{"settings": {"seed": 1, "text": {"corpora": [corpus]}}, "metrics": metrics}]
    assert summary.table(made, cells)[2:] == ["| a | 1 | 0.5000 |", "| b | 1 | 0.7000 |"]


def test_what_a_bench_measured_is_kept_with_its_day_and_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "BENCH", tmp_path / "bench.json")
    pair = {"ours": 4560.4, "peer": 2500.0, "ratio": 1.8, "ratio_min": 1.7, "ratio_max": 1.9, "unit": "texts/s"}
    single = pair | {"ms": {"ours": 3.44, "peer": 7.0}}
    value = {"value": 1.25, "unit": "ms", "setup": {}}
    step = {"value": 1.01, "unit": "times", "setup": {"ratio_min": 0.99, "ratio_max": 1.06}}
    alone = {"serve.p50_ms": value, "step.large": step}
    publish.keep_bench({"encode.peer|small": single, "topk.peer": pair, **alone})
    kept = json.loads((tmp_path / "bench.json").read_text())
    assert set(kept) == {"encode.peer|small", "topk.peer", *alone}
    old = {key: entry | {"about": {"date": "2020-01-01", "device": "old"}} for key, entry in kept.items()}
    (tmp_path / "bench.json").write_text(json.dumps(old))
    publish.keep_bench({"encode.peer|small": single, "topk.peer": pair | {"ratio": 1.85}})
    days = {key: entry["about"]["date"] for key, entry in json.loads((tmp_path / "bench.json").read_text()).items()}
    assert days["encode.peer|small"] == "2020-01-01" < days["topk.peer"]
    text = publish.with_bench(f"before\n{publish.BENCH_BEGIN}old\n{publish.BENCH_END}after\n")
    assert "| encode.peer of small | 4,560 | 2,500 | texts/s | 1.80 [1.70, 1.90] | 3.4 and 7.0 ms |" in text
    assert "2020-01-01 to 20" in text
    assert "| serve.p50_ms | 1.25 | ms |  |" in text
    assert "| step.large | 1.01 | times | 0.99 and 1.06 |" in text
    with pytest.raises(ValueError, match="bench:begin"):
        publish.with_bench("no markers")
