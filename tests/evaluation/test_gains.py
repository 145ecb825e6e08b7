import numpy as np
import pytest

from tfrec_llm.config import Evaluate
from tfrec_llm.evaluation import entry, format_table, gain_key, gains, judge, merge_report, paired_bootstrap, verdict

SETTINGS = Evaluate(split="test", k=2, recall_at=3, bootstrap=200)


@pytest.fixture(name="queries")
def _queries(make_dataset):
    return make_dataset([[2]] * 40, [[3]] * 40, num_items=4).split.test


def test_paired_differences_of_every_metric(queries):
    right, wrong = np.tile([3, 4, 5], (40, 1)), np.tile([4, 5, 0], (40, 1))
    half = np.where(np.arange(40)[:, None] < 20, right, wrong)
    tops = {"system": half, "system_with_utterance": right, "behaviour": right, "baseline.old": wrong}
    found = gains(tops, queries, SETTINGS, seed=1)
    metrics = ("hr@2", "ndcg@2", "mrr@2", "recall@3")
    others = ("behaviour", "baseline.old")
    assert set(found) == {f"gain.system.over.{other}.{metric}" for other in others for metric in metrics}
    over = found[gain_key("baseline.old.ndcg@2")]
    expected = paired_bootstrap(judge(half, queries, 2, 3)["ndcg@2"], np.zeros(40), 200, 1)
    assert over == {**entry(0.5, 40, "test"), "ci95": pytest.approx(list(expected.ci95))}
    assert verdict(over) == "better"
    assert found["gain.system.over.behaviour.ndcg@2"]["value"] == -0.5
    assert verdict(found["gain.system.over.behaviour.ndcg@2"]) == "worse"
    assert verdict(entry(0.1, 40, "test", (-0.1, 0.3))) == verdict(entry(0.1, 1, "test")) == "level"


def test_the_system_without_a_time_is_held_against_the_baselines(queries):
    right, wrong = np.tile([3, 4, 5], (40, 1)), np.tile([4, 5, 0], (40, 1))
    tops = {"system": right, "system_without_time": wrong, "baseline.old": wrong}
    found = gains(tops, queries, SETTINGS, seed=1)
    assert found["gain.system_without_time.over.baseline.old.ndcg@2"]["value"] == 0
    assert found["gain.system.over.system_without_time.ndcg@2"]["value"] == 1
    assert "gain.system_without_time.over.system_without_time.ndcg@2" not in found
    report = {"metrics": found, "protocol": {}, "run": {}}
    assert "system_without_time.over" not in format_table(report)
    assert "system_without_time.over.baseline.old.ndcg@2" in format_table(report, with_segments=True)


def test_without_a_system_there_is_nothing_to_compare(queries):
    assert gains({"baseline.old": np.zeros((40, 3), int)}, queries, SETTINGS, 1) == {}


def test_metrics_json_takes_the_keys_and_the_table_shows_them_beside_the_rows(tmp_path):
    metrics = {
        "system.ndcg@10": entry(0.5, 10, "test", (0.4, 0.6)),
        "baseline.old.ndcg@10": entry(0.3, 10, "test"),
        "baseline.new.ndcg@10": entry(0.4, 10, "validation"),
        "gain.system.over.baseline.old.ndcg@10": entry(0.2, 10, "test", (0.1, 0.3)),
        "gain.system.over.baseline.new.ndcg@10": entry(0.2, 10, "test", (0.1, 0.3)),
    }
    lines = format_table(merge_report(tmp_path / "metrics.json", metrics)).splitlines()
    rows = {line.split()[0]: line for line in lines[1:]}
    assert lines[0].endswith("the system against it")
    assert rows["old.ndcg@10"].endswith("+0.2000 [+0.1000, +0.3000] better")
    assert rows["new.ndcg@10"].endswith("validation")  # of another split: not comparable, so it stays in its own row
    assert [line for line in lines if "over." in line] == [rows["system.over.baseline.new.ndcg@10"]]
