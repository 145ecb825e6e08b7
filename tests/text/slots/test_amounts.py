"""Numbers out of tagged tokens."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.text.slots.amounts import Amounts

PIECES = [
    "",
    *[
        "▁under",
        "▁200",
        "200",
        "元",
        "▁$",
        "19",
        ".",
        "99",
        "▁1",
        ",",
        "500",
        "k",
        "千",
        "▁",
        "▁5",
        "-",
        "▁20",
        "万元",
        "bucks",
    ],
]


def amount(words, tagged=None):
    ids = tf.constant([[PIECES.index(word) for word in words]])
    tagged = [True] * len(words) if tagged is None else tagged
    return float(Amounts(PIECES)(ids, tf.constant([tagged]))[0])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["▁under", "▁200"], 200),
        (["200", "元"], 200),
        (["▁$", "19", ".", "99"], 19.99),
        (["▁1", ",", "500"], 1500),
        (["▁5", "k"], 5000),
        (["▁5", "千"], 5000),
        (["▁5", "万元"], 50_000),
        (["▁5", "bucks"], 5),
        (["▁5", "-", "▁20"], 5),
        (["▁under", "元"], 0),
        (["", "▁"], 0),
    ],
)
def test_the_first_number(words, expected):
    assert amount(words) == pytest.approx(expected)


def test_only_tagged_tokens_count():
    assert amount(["▁5", "▁under", "▁200"], [False, True, True]) == 200
    assert amount(["▁5", "▁200"], [False, False]) == 0


def test_endless_digits_are_no_error():
    ids = tf.constant(np.full((1, 400), PIECES.index("200")))
    assert np.isfinite(Amounts(PIECES)(ids, tf.ones([1, 400], tf.bool)).numpy()).all()
