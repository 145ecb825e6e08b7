import numpy as np
import pytest

from tfrec_llm.config import Evaluate
from tfrec_llm.evaluation import group_figures
from tfrec_llm.evaluation.report import KEY
from tfrec_llm.types import Queries

SETTINGS = Evaluate(bootstrap=50, recall_at=10)


@pytest.fixture
def queries():
    """Sixty users, one query each, whose right answer is item 2."""
    count = 60
    zeros = np.zeros(count, np.int64)
    return Queries(
        np.arange(count, dtype=np.int32), zeros, zeros, zeros, np.full(count, 2, np.int32), np.arange(count + 1)
    )


def test_the_gap_is_between_the_best_and_the_worst_group(queries):
    top = np.zeros((60, 10), np.int32)
    top[:30, 0] = 2  # the first half is served well, ten of the others not at all, the rest in second place
    top[40:, 1] = 2
    people = np.array([["F", "", "18-24"]] * 30 + [["X", "", "25-34"]] * 10 + [["M", "", "25-34"]] * 20)
    found = group_figures("system", top, queries, people, ["gender", "occupation", "age"], SETTINGS, 1)
    second = 1 / np.log2(3)
    assert found["system.ndcg@10|gender_F"]["value"] == 1
    assert found["system.ndcg@10|gender_M"]["value"] == pytest.approx(second)
    assert "system.ndcg@10|gender_X" not in found  # too few to say
    assert found["system.gap_by_gender.ndcg@10"]["value"] == pytest.approx(1 - second)
    assert found["system.gap_by_gender.ndcg@10"]["n"] == 50
    gap = found["system.gap_by_age.ndcg@10"]
    assert gap["value"] == pytest.approx(1 - second * 2 / 3)
    assert gap["ci95"][0] < gap["value"] < gap["ci95"][1]
    assert not [key for key in found if "occupation" in key]
    assert all(KEY.fullmatch(key) for key in found)


def test_names_become_words_that_a_key_may_have(queries):
    people = np.array([["Under 18 / pupil"]] * 60)
    found = group_figures("system", np.zeros((60, 10), np.int32), queries, people, ["age group"], SETTINGS, 1)
    assert list(found) == ["system.ndcg@10|age_group_Under_18_pupil"]
