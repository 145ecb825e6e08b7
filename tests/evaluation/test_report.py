import errno
import json
import math

import pytest

from tfrec_llm.evaluation import entry, format_table, merge_report, print_table, read_report

PROTOCOL = {
    "dataset": "toy",
    "items": 5,
    "users": 4,
    "interactions": 20,
    "split": "last item",
    "trained_on": "train",
    "candidates": "all items",
    "ties": "lower index",
    "seeds": [1],
    "sha256": "a" * 64,
}


@pytest.fixture(name="path")
def _path(tmp_path):
    return tmp_path / "run" / "metrics.json"


def test_form(path):
    figure = entry(0.5, 10, "test", (0.4, 0.6))
    merge_report(path, {"system.ndcg@10|tail": figure}, PROTOCOL, {"seed": 1})
    assert json.loads(path.read_text()) == {
        "metrics": {
            "system.ndcg@10|tail": {"value": 0.5, "ci95": [0.4, 0.6], "over": "users", "n": 10, "split": "test"}
        },
        "protocol": PROTOCOL,
        "run": {"seed": 1},
    }


def test_no_file_is_an_empty_report(path):
    assert read_report(path) == {"metrics": {}, "protocol": {}, "run": {}}


def test_merging_replaces_equal_keys_and_keeps_the_rest(path):
    merge_report(path, {"system.hr@10": entry(0.1, 5, "validation"), "seconds.text": entry(3, 1, "train")}, PROTOCOL)
    merge_report(path, {"system.hr@10": entry(0.2, 5, "test")}, None, {"seed": 2})
    report = read_report(path)
    assert {key: (value["value"], value["split"]) for key, value in report["metrics"].items()} == {
        "system.hr@10": (0.2, "test"),
        "seconds.text": (3.0, "train"),
    }
    assert report["protocol"] == PROTOCOL
    assert report["run"] == {"seed": 2}


def test_other_data_is_kept_aside(path):
    merge_report(path, {"system.hr@10": entry(0.1, 5, "test")}, PROTOCOL)
    merge_report(path, {"behaviour.hr@10": entry(0.2, 5, "test")}, {**PROTOCOL, "sha256": "b" * 64})
    assert list(read_report(path)["metrics"]) == ["behaviour.hr@10"]
    assert list(read_report(path.with_name("metrics.aaaaaaaaaaaa.json"))["metrics"]) == ["system.hr@10"]


@pytest.mark.parametrize(
    "key",
    [
        "text.crosswoz.micro_f1",
        "behaviour.hr@10",
        "baseline.ease_recency.ndcg@10|cold|short",
        "ranking.linear.lin_ucb.regret",
        "ope.bts-all.snips.relative_error",
        "peak_memory_gb.text",
    ],
)
def test_keys_of_the_contract(path, key):
    merge_report(path, {key: entry(0.1, 1, "test")})
    assert list(read_report(path)["metrics"]) == [key]


GOOD = entry(0.5, 10, "test", (0.4, 0.6))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hr@10", GOOD),
        ("system. hr", GOOD),
        ("system.hr@10|", GOOD),
        ("system.hr@10", 0.5),
        ("system.hr@10", {"value": 0.5}),
        ("system.hr@10", {**GOOD, "value": math.nan}),
        ("system.hr@10", {**GOOD, "value": None}),
        ("system.hr@10", {**GOOD, "value": True}),
        ("system.hr@10", {**GOOD, "ci95": [0.4]}),
        ("system.hr@10", {**GOOD, "ci95": []}),
        ("system.hr@10", {**GOOD, "ci95": 0.4}),
        ("system.hr@10", {**GOOD, "ci95": [0.6, 0.4]}),
        ("system.hr@10", {**GOOD, "ci95": [0.6, math.inf]}),
        ("system.hr@10", {**GOOD, "over": "items"}),
        ("system.hr@10", {**GOOD, "n": 0}),
        ("system.hr@10", {**GOOD, "split": ""}),
        ("system.hr@10", {**GOOD, "more": 1}),
    ],
)
def test_bad_figures_are_refused_and_nothing_is_written(path, key, value):
    merge_report(path, {"text.snips.accuracy": GOOD})
    before = path.read_bytes()
    with pytest.raises(ValueError, match="metrics: "):
        merge_report(path, {key: value})
    assert path.read_bytes() == before


def test_a_protocol_must_be_whole(path):
    with pytest.raises(ValueError, match="protocol: expected seeds too"):
        merge_report(path, {}, {key: value for key, value in PROTOCOL.items() if key != "seeds"})
    assert not path.exists()


@pytest.mark.parametrize(
    "text", ["", '{"metrics": {', "[]", '{"metrics": {}}', '{"metrics": [], "protocol": {}, "run": {}}', "\ud800"]
)
def test_a_malformed_file_is_refused_and_kept(path, text):
    path.parent.mkdir()
    content = text.encode("utf-8", "surrogatepass")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"metrics\.json: .*ove the file away"):
        merge_report(path, {"system.hr@10": GOOD})
    assert path.read_bytes() == content


def test_a_full_disk_leaves_the_old_file(path, monkeypatch):
    merge_report(path, {"system.hr@10": GOOD})
    before = path.read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tfrec_llm.evaluation.report.os.fsync", full)
    with pytest.raises(OSError, match="old file is intact") as caught:
        merge_report(path, {"system.hr@10": entry(0.9, 10, "test")})
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["metrics.json"]


def test_table(capsys):
    metrics = {
        "system.ndcg@10": GOOD,
        "system.ndcg@10|tail": GOOD,
        "baseline.random.ndcg@10": entry(0.001, 10, "test"),
        "text.snips.accuracy": entry(0.95, 700, "test"),
        "seconds.text": entry(123.4, 1, "train"),
    }
    print_table({"metrics": metrics, "protocol": {}, "run": {}})
    assert capsys.readouterr().out.splitlines() == [
        "                   value     95 % interval    n  split",
        "text",
        "  snips.accuracy  0.9500                    700  test",
        "system",
        "  ndcg@10         0.5000  [0.4000, 0.6000]   10  test",
        "baseline",
        "  random.ndcg@10  0.0010                     10  test",
        "seconds",
        "  text             123.4                      1  train",
    ]


def test_table_with_segments_and_protocol():
    report = {"metrics": {"system.ndcg@10|tail": GOOD}, "protocol": PROTOCOL, "run": {"diversity_by": "text"}}
    first, second, *_, last = format_table(report, with_segments=True).splitlines()
    assert first.startswith("toy: 5 items, 4 users, 20 interactions; last item;")
    assert second == "protocol aaaaaaaaaaaa; seeds 1; diversity by the items' text"
    assert last.startswith("  ndcg@10|tail")
    assert "no figures" in format_table(report)
