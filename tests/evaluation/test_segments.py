import numpy as np
import pytest

from tfrec_llm.config import Evaluate
from tfrec_llm.evaluation import figures, segments
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
    assert rows == {"short": [0], "long": [3], "head": [1, 3], "tail": [0, 1, 2, 3], "cold": [1]}
    assert found["head"].queries.relevant.tolist() == [2, 2]
    assert found["tail"].queries.relevant.tolist() == [3, 6, 4, 3]
    assert found["short"].queries.relevant.tolist() == [3]
    assert found["cold"].queries.relevant.tolist() == [6]


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
    assert found["behaviour.hr@2"]["n"] == 4
