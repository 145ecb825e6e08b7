"""Numbers out of tagged tokens."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.data.slots import number_words
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
        *"零一二两三五八十百万到元共的",
        "三百",
        "▁五",
        "▁百",
        "五百元",
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


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("三百", 300),
        ("两百元", 200),
        ("一千二百", 1200),
        ("一千", 1000),
        ("一万", 10_000),
        ("一万二千三百", 12_300),
        ("十万", 100_000),
        ("三十五", 35),
        ("十五", 15),
        ("一百一十", 110),
        ("一千零五十", 1050),
        ("一千零五", 1005),
        ("三百五", 350),  # as it is said
        ("一千二", 1200),
        ("一万二", 12_000),
        ("2百", 200),
        ("一共200", 200),  # a lone digit is no amount
        ("一元", 0),
        ("三百到五百", 300),
        ("到五百", 500),
        ("5到20元", 5),
    ],
)
def test_chinese_number_words(words, expected):
    pieces = ["", *sorted(set("2050") | set(words)), "200", "20"]
    ids = [pieces.index("200")] * ("200" in words) or [pieces.index(sign) for sign in words]
    ids = [*(pieces.index(sign) for sign in "一共"), *ids] if words.startswith("一共") else ids
    assert float(Amounts(pieces)(tf.constant([ids]), tf.fill([1, len(ids)], True))[0]) == pytest.approx(expected)


def test_every_number_that_training_says_is_understood():
    signs = ["", *"零一二两三四五六七八九十百千万元"]
    for number in (*range(10, 130), 200, 305, 990, 1001, 1010, 1100, 1999, 2500, 9090, 10_001, 12_300, 20_000, 99_999):
        ids = [signs.index(sign) for sign in f"{number_words(number)}元"]
        assert float(Amounts(signs)(tf.constant([ids]), tf.fill([1, len(ids)], True))[0]) == number


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["三百", "到"], 300),
        (["到", "五百元"], 500),
        (["▁五", "▁百", "元"], 500),  # tokenizers that take each character for a word
        (["三百", "▁五", "百"], 300),
    ],
)
def test_number_words_of_several_pieces(words, expected):
    assert amount(words) == expected


def test_only_tagged_tokens_count():
    assert amount(["▁5", "▁under", "▁200"], [False, True, True]) == 200
    assert amount(["▁5", "▁200"], [False, False]) == 0


def test_endless_digits_are_no_error():
    ids = tf.constant(np.full((1, 400), PIECES.index("200")))
    assert np.isfinite(Amounts(PIECES)(ids, tf.ones([1, 400], tf.bool)).numpy()).all()
