"""Which texts to label next."""

import csv

import numpy as np
import pytest

from tfrec_llm.text.little.selection import farthest_first, most_worth_labelling, uncertainty, write_list


def circle(*degrees):
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], 1)


def test_uncertainty_by_margin_and_by_the_least_sure_label():
    np.testing.assert_allclose(uncertainty(np.array([[0.6, 0.3, 0.1], [1.0, 0.0, 0.0]]), False), [0.7, 0.0])
    np.testing.assert_allclose(uncertainty(np.array([[0.9, 0.5], [0.9, 0.2]]), True), [1.0, 0.4])


def test_the_farthest_from_known_and_chosen_ones_comes_next():
    vectors = circle(0, 11, 90, 180, 185)
    assert farthest_first(vectors, 3, circle(5)).tolist() == [4, 2, 1]
    assert farthest_first(vectors, 9, np.zeros((0, 2))).tolist()[:2] == [0, 3]  # 180 degrees is the farthest from 0
    assert sorted(farthest_first(vectors, 9, np.zeros((0, 2)))) == [0, 1, 2, 3, 4]


def test_only_uncertain_texts_take_part_and_no_two_alike():
    vectors = circle(0, 0, 0, 0, 40, 180)
    unsure = np.array([0.9, 0.8, 0.8, 0.8, 0.7, 0.1])
    chosen = most_worth_labelling(unsure, vectors, 1, circle(0))
    assert chosen.tolist() == [4]  # the sure one at 180 degrees is not among the five most uncertain


def test_the_list_is_a_csv_that_can_be_read_again(tmp_path):
    path = tmp_path / "to_label.csv"
    write_list(path, ["a, b", "大屏"], np.array([1, 0]), np.array([0.5, 0.25]), {"intent": ["buy", "ask"]})
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == ["大屏", "a, b"]
    assert rows[0] == {"text": "大屏", "uncertainty": "0.2500", "guess_intent": "ask"}
    assert float(rows[1]["uncertainty"]) == pytest.approx(0.5)
