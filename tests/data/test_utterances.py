"""Synthetic utterances keep the protocol's rules; the labelled ones keep training and test apart."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.data import can_name, domain_utterances, load_domain, synthesise, synthesise_named
from tfrec_llm.data.domains import holes
from tfrec_llm.data.texts import language_of, normalise
from tfrec_llm.data.utterances import shared_values
from tfrec_llm.data.voices import held_out
from tfrec_llm.types import Catalogue, Dataset

GENRES, DECADES = ("Comedy", "Horror"), ("1990s", "1980s")
ITEMS = 400


@pytest.fixture(scope="module")
def dataset():
    """400 films: two genres and two decades that 200 share, one country that 49 share, one language that all have."""
    rows = range(ITEMS)
    attributes = {
        "genre": ((), (), *((GENRES[i % 2],) for i in rows)),
        "decade": ((), (), *((DECADES[i // 2 % 2],) for i in rows)),
        "country": ((), (), *(("France",) if i < 49 else () for i in rows)),
        "language": ((), (), *(("Klingon",) for i in rows)),
        "director": ((), (), *(("Somebody",) for i in rows)),
    }
    catalogue = Catalogue(
        item_ids=np.array(["", "[unknown]", *(f"film-{i}" for i in rows)]),
        titles=np.array(["", "[unknown]", *(f"Zebra {i}" for i in rows)]),
        texts=np.array(["", "", *("Zebra" for i in rows)]),
        attributes=attributes,
        price=np.full(ITEMS + 2, np.nan, np.float32),
        available=np.arange(ITEMS + 2) > 1,
    )
    return Dataset("tiny", load_domain("video"), None, catalogue, None, {})


def said(domain, value, side):
    return {way for language in ("en", "zh") for way in held_out(domain.words[language][value], side)}


def mentions(domain, text, values, side):
    return {value for value in values if any(way in text for way in said(domain, value, side))}


@given(st.sets(st.text(alphabet="abcdef ", min_size=1), min_size=2, max_size=60))
def test_both_sides_get_some_and_share_none(phrases):
    train, test = held_out(sorted(phrases), "train"), held_out(sorted(phrases, reverse=True), "test")
    assert not set(train) & set(test)
    assert set(train) | set(test) == phrases
    assert train
    assert test
    assert abs(len(test) - 0.3 * len(phrases)) < 1


def test_templates_with_the_same_holes_are_on_both_sides():
    templates = [f"{i} {{genre}}" for i in range(10)] + [f"{i} {{decade}}" for i in range(10)]
    test = held_out(templates, "test")
    assert [sum("{genre}" in t for t in test), sum("{decade}" in t for t in test)] == [3, 3]


def test_a_third_side_is_refused(dataset):
    with pytest.raises(ValueError, match="'train' or 'test', got 'validation'"):
        synthesise(dataset, np.array([2]), "validation", 0)


def test_what_each_names_is_said_with_it(dataset):
    items = np.arange(2, ITEMS + 2)
    texts, names = synthesise_named(dataset, items, "train", 3)
    np.testing.assert_array_equal(texts, synthesise(dataset, items, "train", 3))
    for text, name in zip(texts, names, strict=True):
        for value in (pair.partition("=")[2] for pair in name.split("|") if pair):
            assert mentions(dataset.domain, text, (value,), "train")
    assert {"", "genre=Comedy", "decade=1990s|genre=Horror"} <= set(names)


def test_whether_anything_can_be_named(dataset):
    assert can_name(dataset)
    assert not can_name(dataclasses.replace(dataset, domain=dataclasses.replace(dataset.domain, templates={})))
    bare = dataclasses.replace(dataset.catalogue, attributes={})
    assert not can_name(dataclasses.replace(dataset, catalogue=bare))


def test_only_values_that_fifty_items_share(dataset):
    shared = shared_values(dataset.catalogue, dataset.domain.utterance_attributes)
    assert shared == {"genre": GENRES, "decade": DECADES[::-1], "country": (), "language": ("Klingon",)}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["train", "test"]), st.lists(st.integers(0, ITEMS + 1), max_size=20))
def test_never_empty_never_a_title_and_one_language_after_the_other(dataset, seed, side, items):
    texts = synthesise(dataset, np.array(items, np.int32), side, seed)
    assert texts.shape == (len(items),)
    for row, text in enumerate(texts):
        assert text
        assert not any(word in text for word in ("{", "}", "Zebra", "Somebody", "film-", "Klingon", "rench", "法"))
        assert language_of(text) == ("en", "zh")[(row + seed) % 2]


def test_equal_seeds_speak_alike_and_others_do_not(dataset):
    items = np.arange(2, 102, dtype=np.int32)
    first = synthesise(dataset, items, "train", 7)
    assert np.array_equal(first, synthesise(dataset, items, "train", 7))
    assert not np.array_equal(first, synthesise(dataset, items, "train", 8))


def test_training_and_test_share_no_utterance(dataset):
    items = np.tile(np.arange(2, ITEMS + 2, dtype=np.int32), 3)
    train, test = (set(map(normalise, synthesise(dataset, items, side, 1))) for side in ("train", "test"))
    assert not train & test
    assert min(len(train), len(test)) > 50


def test_an_attribute_is_dropped_or_swapped_three_times_in_ten(dataset):
    """One attribute, genre: 70 % true; of the rest one half names the other genre, the other half none."""
    domain = dataclasses.replace(dataset.domain, utterance_attributes=("genre",))
    domain = dataclasses.replace(
        domain,
        templates={
            language: {intent: tuple(t for t in texts if holes(t) <= {"genre"}) for intent, texts in intents.items()}
            for language, intents in domain.templates.items()
        },
    )
    items = np.tile(np.arange(2, ITEMS + 2, dtype=np.int32), 10)
    texts = synthesise(dataclasses.replace(dataset, domain=domain), items, "train", 3)
    own, other = 0, 0
    for item, text in zip(items, texts, strict=True):
        heard = mentions(domain, text, GENRES, "train")
        own += heard == {GENRES[item % 2]}
        other += heard == {GENRES[1 - item % 2]}
    assert own / len(items) == pytest.approx(0.7, abs=0.03)
    assert other / len(items) == pytest.approx(0.15, abs=0.025)


def test_two_attributes_at_most_are_heard_together(dataset):
    items = np.arange(2, ITEMS + 2, dtype=np.int32)
    texts = synthesise(dataset, items, "train", 5)
    counts = [len(mentions(dataset.domain, text, GENRES + DECADES, "train")) for text in texts]
    assert max(counts) == 2
    assert counts.count(2) / ITEMS == pytest.approx(0.85**2, abs=0.06)  # both true or swapped: (1 - .15) each


def test_a_domain_that_cannot_ask_is_refused(dataset):
    mute = dataclasses.replace(dataset, domain=dataclasses.replace(dataset.domain, templates={}))
    with pytest.raises(ValueError, match="templates of requests"):
        synthesise(mute, np.array([2]), "train", 0)


def test_domain_utterances_have_all_labels_in_all_splits(dataset):
    corpus = domain_utterances(dataset, 3000, 1)
    assert corpus.labels == {
        "intent": dataset.domain.intents,
        "emotion": dataset.domain.emotions,
        "sentiment": ("negative", "neutral", "positive"),
    }
    assert len({normalise(text) for text in corpus.texts}) == len(corpus.texts) > 1500
    for split, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        rows = corpus.split == split
        assert rows.mean() == pytest.approx(share, abs=0.05)
        assert set(corpus.intent[rows]) == set(range(len(dataset.domain.intents)))
        assert set(corpus.emotion[rows]) >= set(range(len(dataset.domain.emotions)))
        assert set(corpus.sentiment[rows]) == {-1, 0, 1, 2}  # surprise goes either way
        assert set(corpus.language[rows]) == {"en", "zh"}


def test_domain_utterances_of_the_test_use_phrases_of_the_test_only(dataset):
    domain, corpus = dataset.domain, domain_utterances(dataset, 2000, 2)
    feelings = [p for lists in domain.feelings.values() for emotion in lists for p in held_out(lists[emotion], "train")]
    plain = [
        t for lists in domain.templates.values() for i in lists for t in held_out(lists[i], "train") if not holes(t)
    ]
    whole = {normalise(phrase) for phrase in feelings + plain}
    for text in corpus.texts[corpus.split == "test"]:
        assert not whole & {normalise(part) for part in text.replace("! ", ", ").replace(". ", ", ").split(", ")}


def test_a_feeling_is_the_label_of_its_sentence(dataset):
    domain, corpus = dataset.domain, domain_utterances(dataset, 1000, 3)
    for text, emotion, intent in zip(corpus.texts, corpus.emotion, corpus.intent, strict=True):
        name = domain.emotions[emotion] if emotion >= 0 else ""
        heard = {e for lists in domain.feelings.values() for e in lists for phrase in lists[e] if phrase in text}
        assert name in heard or (name in ("neutral", "") and not heard - {"neutral"})
        assert emotion >= 0 or domain.intents[intent] not in domain.requests


def test_domain_utterances_repeat(dataset):
    assert np.array_equal(domain_utterances(dataset, 200, 4).texts, domain_utterances(dataset, 200, 4).texts)
    assert len(domain_utterances(dataset, 0, 4).texts) == 0
