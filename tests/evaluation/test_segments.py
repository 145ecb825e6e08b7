import dataclasses

import numpy as np
import pytest

from tfrec_llm.config import Evaluate
from tfrec_llm.evaluation import figures, item_facts, judge_lists, segments
from tfrec_llm.evaluation.segments import popular_items


@pytest.fixture(name="dataset")
def _dataset(make_dataset):
    # counts: item 2 six times, 3 twice, 4 once, 5 once, 6 never; the head is one item of five
    histories = [[2], [2, 3], [2, 3, 4], [2, 2, 2, 5]]
    return make_dataset(histories, [[3], [2, 6], [4], [2, 3]], num_items=5, repeat=True)


def test_head_is_the_most_popular_fifth(dataset):
    assert np.flatnonzero(popular_items(dataset)).tolist() == [2]


def test_segments_by_hand(dataset):
    found = segments(dataset, dataset.split.test)
    rows = {name: segment.rows.tolist() for name, segment in found.items()}
    # lengths 1, 2, 3, 4: quartiles 1.75 and 3.25
    assert rows == {
        "short": [0],
        "long": [3],
        "head": [1, 3],
        "tail": [0, 1, 2, 3],
        "cold": [1],
        "history_0_4": [0, 1, 2, 3],
    }
    assert not any(found[name].whole for name in ("head", "tail", "cold"))
    assert all(found[name].whole for name in ("short", "long", "history_0_4"))
    assert found["head"].queries.relevant.tolist() == [2, 2]
    assert found["tail"].queries.relevant.tolist() == [3, 6, 4, 3]
    assert found["short"].queries.relevant.tolist() == [3]
    assert found["cold"].queries.relevant.tolist() == [6]


def test_histories_are_counted_in_events(make_dataset):
    lengths = [0, 4, 5, 19, 20, 99, 100, 500]
    dataset = make_dataset([[2] * length for length in lengths], [[3]] * 8, num_items=2, repeat=True)
    found = segments(dataset, dataset.split.test)
    rows = {name: segment.rows.tolist() for name, segment in found.items() if name.startswith("history_")}
    assert rows == {"history_0_4": [0, 1], "history_5_19": [2, 3], "history_20_99": [4, 5], "history_100_up": [6, 7]}


def test_a_segment_that_nobody_is_in_is_absent(make_dataset):
    dataset = make_dataset([[2, 3], [2, 3]], [[2], [2]], num_items=2, repeat=True)
    assert "cold" not in segments(dataset, dataset.split.test)
    assert "tail" not in segments(dataset, dataset.split.test)


def test_figures_of_segments(dataset):
    top = np.array([[3, 2, 0], [2, 3, 0], [2, 3, 0], [3, 4, 0]], np.int32)
    found = figures("behaviour", top, dataset, dataset.split.test, Evaluate(k=2, recall_at=3, bootstrap=20), seed=1)
    # hits: 3 yes; 2 yes (6 missing); 4 no; 3 yes (2 missing)
    assert found["behaviour.hr@2"]["value"] == 0.75
    assert found["behaviour.recall@3"]["value"] == (1 + 0.5 + 0 + 0.5) / 4
    # as tail only: 3 yes, 6 no, 4 no, 3 yes
    assert found["behaviour.hr@2|tail"]["value"] == 0.5
    assert found["behaviour.hr@2|head"]["value"] == 0.5
    assert found["behaviour.hr@2|short"] == {"value": 1.0, "ci95": None, "over": "users", "n": 1, "split": "validation"}
    assert found["behaviour.hr@2|cold"]["value"] == 0.0
    assert found["behaviour.coverage@2"]["value"] == 3 / 5
    # shown 0, 0, 1, 3, 4 times: (-4*0 - 2*0 + 0*1 + 2*3 + 4*4) / (5 * 8)
    assert found["behaviour.gini@2"]["value"] == 22 / 40
    assert found["behaviour.hr@2"]["n"] == 4


def test_figures_of_lists(dataset):
    # 10 training events, 6 of item 2, 2 of item 3, 1 each of 4 and 5; the head is item 2
    top = np.array([[2, 3, 0], [2, 3, 0], [4, 5, 0], [4, 0, 0]], np.int32)
    text = np.eye(7, dtype=np.float32)
    text[[0, 1, 3]] = 0
    settings = Evaluate(k=2, recall_at=3, bootstrap=20)
    found = figures("system", top, dataset, dataset.split.test, settings, 1, item_facts(dataset, text))
    bits = np.log2(10 / np.array([6, 2, 1]))
    assert found["system.novelty@2"]["value"] == pytest.approx((bits[0] + bits[1] + 2 * bits[2]) / 4)
    assert found["system.novelty@2|short"]["value"] == pytest.approx((bits[0] + bits[1]) / 2)
    assert found["system.popularity_share@2"]["value"] == 0.25
    # 3 has no text, so that only one list has a pair, and its two are orthogonal
    assert found["system.diversity@2"] == {"value": 1.0, "ci95": None, "over": "users", "n": 1, "split": "validation"}
    assert not [key for key in found if key.endswith(("2|tail", "2|head", "2|cold")) and "novelty" in key]


def test_diversity_goes_by_text_then_attributes_then_not_at_all(make_dataset):
    dataset = make_dataset([[2]], [[3]], num_items=3)
    assert item_facts(dataset).diversity_by == ""
    assert item_facts(dataset, np.zeros((5, 2), np.float32)).vectors is None
    assert item_facts(dataset, np.eye(5, dtype=np.float32)).diversity_by == "text"
    kinds = ((), (), ("comedy", "drama"), ("drama",), ())
    catalogue = dataclasses.replace(dataset.catalogue, attributes={"genre": kinds, "year": ((),) * 5})
    facts = item_facts(dataclasses.replace(dataset, catalogue=catalogue), np.zeros((5, 2), np.float32))
    assert facts.diversity_by == "attributes"
    assert facts.vectors.toarray().tolist() == [[0, 0], [0, 0], [1, 1], [0, 1], [0, 0]]
    # 2 and 3 share one of two and one value: cosine 1 / sqrt 2
    values = judge_lists(np.array([[2, 3], [3, 4]]), facts, 2)["diversity@2"]
    np.testing.assert_allclose(values, [1 - 0.5**0.5, np.nan], rtol=1e-6)
