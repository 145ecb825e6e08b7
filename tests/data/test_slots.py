"""Sentences with known spans: the spans are where they say, and the two sides share no phrase."""

import dataclasses
import itertools
import re

import numpy as np
import pytest

from tfrec_llm import config, data
from tfrec_llm.data import slots
from tfrec_llm.data.slots import PRICE_KINDS, frequent_values, number_words, span_utterances
from tfrec_llm.data.texts import language_of
from tfrec_llm.data.voices import held_out
from tfrec_llm.types import Catalogue

VALUES = {"category": ("SOUP", "BEEF", "手机"), "brand": ("National", "Private")}


@pytest.fixture(scope="module")
def dataset():
    made = data.load_dataset(config.Data(source="synthetic", synthetic_users=60), 1)
    return dataclasses.replace(made, domain=data.load_domain("retail"))


@pytest.fixture(scope="module")
def said(dataset):
    return span_utterances(dataset, VALUES, 1500, 3)


def catalogue(values):
    empty = np.array([""] * (len(values) + 2))
    attributes = {"colour": ((), (), *values)}
    return Catalogue(empty, empty, empty, attributes, np.zeros(len(empty), np.float32), np.ones(len(empty), bool))


def test_values_that_enough_items_share_the_commonest_first():
    items = catalogue([("red",)] * 5 + [("blue", "red")] * 3 + [("green",)] * 4 + [("odd",)] + [()])
    assert frequent_values(items, ("colour", "size"), 2, 9) == {"colour": ("blue", "green", "red")}
    assert frequent_values(items, ("colour",), 2, 2) == {"colour": ("green", "red")}
    assert frequent_values(items, ("size",), 1, 9) == {}


def test_spans_say_what_stands_there(said, dataset):
    kinds = set()
    for text, spans in zip(said.texts, said.spans, strict=True):
        assert [s.begin for s in spans] == sorted(s.begin for s in spans)
        for one, two in itertools.pairwise(spans):
            assert one.end <= two.begin
        for span in spans:
            part = text[span.begin : span.end]
            kinds.add(span.kind)
            if span.kind in PRICE_KINDS:
                assert part.casefold() == span.value.casefold()
            else:
                ways = [w for lists in dataset.domain.words.values() for w in lists.get(span.value, ())]
                assert part.casefold() in [way.casefold() for way in (*ways, span.value)]
    assert kinds == {*VALUES, *PRICE_KINDS}


def test_words_and_price_phrases_of_the_test_are_not_trained_on(said, dataset):
    prices = dataset.domain.prices["zh"]
    for text, split, spans in zip(said.texts, said.split, said.spans, strict=True):
        side = "test" if split == "test" else "train"
        for span in spans:
            if span.kind == "category" and span.value != "手机":
                ways = [w for lists in dataset.domain.words.values() for w in held_out(lists[span.value], side)]
                assert text[span.begin : span.end].casefold() in [way.casefold() for way in ways]
    assert set(held_out(prices["below"], "train")).isdisjoint(held_out(prices["below"], "test"))


def test_between_is_a_least_and_a_most(said):
    rows = [spans for spans in said.spans if {"above", "below"} <= {span.kind for span in spans}]
    assert rows
    assert all([s.kind for s in spans if s.kind in ("above", "below")] == ["above", "below"] for spans in rows)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (10, "十"),
        (15, "十五"),
        (35, "三十五"),
        (110, "一百一十"),
        (305, "三百零五"),
        (1050, "一千零五十"),
        (1200, "一千二百"),
        (2005, "二千零五"),
        (10_500, "一万零五百"),
        (12_340, "一万二千三百四十"),
    ],
)
def test_numbers_in_chinese(number, words):
    assert number_words(number) == words


def test_two_hundred_is_said_in_two_ways_and_cents_are_not_said():
    rng = np.random.default_rng(1)
    assert {slots._spelt(220.5, rng) for _ in range(20)} == {"二百二十", "两百二十"}
    assert slots._spelt(9.99, rng) == "9.99"


def test_some_chinese_prices_are_spelt_and_no_english_one(said):
    bounds = [
        (text, text[span.begin : span.end])
        for text, spans in zip(said.texts, said.spans, strict=True)
        for span in spans
        if span.kind in ("below", "above")
    ]
    chinese = [part for text, part in bounds if language_of(text) == "zh" and language_of(part) == "zh"]
    spelt = [part for part in chinese if re.search("[十百千万]", part)]
    assert 0.1 < len(spelt) / len(chinese) < 0.3
    assert not [part for text, part in bounds if language_of(text) == "en" and re.search("[十百千万]", part)]


def test_equal_seeds_agree(said, dataset):
    again = span_utterances(dataset, VALUES, 1500, 3)
    assert again.texts.tolist() == said.texts.tolist()
    assert again.spans == said.spans


def test_a_domain_without_prices_names_none():
    made = data.load_dataset(config.Data(source="synthetic", synthetic_users=60), 1)
    said = span_utterances(made, {"genre": ("Comedy", "Drama")}, 200, 1)
    assert {span.kind for spans in said.spans for span in spans} == {"genre"}
