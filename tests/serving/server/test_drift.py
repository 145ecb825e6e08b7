"""How far answers lie from those of the export."""

import json
import math

import pytest

from pipelines import stages
from tfrec_llm.serving.reference import QUERIES, typical_rows, write_reference
from tfrec_llm.serving.server.drift import LEAST, Drift, stability_index


def test_the_index_by_hand():
    # shares .5 and .5 became .8 and .2: .3 ln 1.6 + (-.3) ln .4 = .141 + .27489
    assert stability_index({"a": 0.5, "b": 0.5}, "aaaabaaaab") == pytest.approx(
        0.3 * math.log(1.6) - 0.3 * math.log(0.4)
    )
    assert stability_index({"a": 0.5, "b": 0.5}, "abab") == 0
    # what was never seen before counts as .0001: .5 ln 5000, and a lost half .5 ln 2 less
    new = 0.4999 * math.log(5000)
    assert stability_index({"a": 1.0}, "ac") == pytest.approx(-0.5 * math.log(0.5) + new)


@pytest.fixture
def drift(tmp_path):
    answers = {
        "item_ids": [["a"] * 9 + [""]] * 100,
        "scores": [[place / 10 for place in range(9)] + [-math.inf]] * 100,
        "propensities": [[0.5] * 9 + [0.0]] * 100,
        "intent": ["find", "", "ask", "find"] * 25,
    }
    write_reference(tmp_path, answers)
    made = Drift()
    made.refer_to(tmp_path)
    return made


def test_equal_answers_do_not_drift_and_others_do(drift):
    assert drift.indexes() == {}
    for _ in range(LEAST):
        for score in range(9):
            drift.see("score", score / 10)
        drift.see("propensity", 0.5)
    assert drift.indexes() == pytest.approx({"score": 0.0, "propensity": 0.0}, abs=0.01)
    for _ in range(LEAST):
        drift.see("intent", "complain")
        drift.see("unheard of", 1.0)
    for _ in range(10 * LEAST):
        drift.see("score", 0.85)
    found = drift.indexes()
    assert found["intent"] > 5
    assert found["score"] > 0.25


def test_without_a_reference_nothing_is_told(tmp_path):
    drift = Drift()
    for text in (None, "[", "{}"):
        if text is not None:
            (tmp_path / "assets.extra").mkdir(exist_ok=True)
            (tmp_path / "assets.extra" / "reference.json").write_text(text)
        drift.refer_to(tmp_path)
        drift.see("score", 1.0)
        assert drift.indexes() == {}


def test_a_real_export_has_one(smoke_run):
    rows = typical_rows(stages.load_dataset(smoke_run), 5, 1)
    assert 100 < len(rows) <= QUERIES
    assert [bool(row["utterance"]) for row in rows[:4]] == [False, True, False, True]
    path = smoke_run / "export" / "1" / "assets.extra" / "reference.json"
    reference = json.loads(path.read_text("utf-8"))
    for one in reference.values():
        assert sum(one["shares"]) == pytest.approx(1)
    assert set(reference) == {"score", "propensity", "intent"}
    assert len(reference["intent"]["labels"]) >= 2
