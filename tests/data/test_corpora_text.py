"""Normal form, duplicates and the hash split that all corpora share; and labelled sentences of a user's own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.data.texts import collect, fine_form, hash_split, language_of, normalise


@given(st.text())
def test_normalising_twice_changes_nothing(text):
    assert normalise(normalise(text)) == normalise(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Hello,  World!", "hello world"), ("ＡＢＣ１", "abc1"), ("真好！！", "真好"), ("a_b", "a b"), ("?!", "")],
)
def test_width_case_spaces_and_punctuation_do_not_count(one, other):
    assert normalise(one) == other


def test_how_a_sign_is_drawn_does_not_count():
    assert fine_form("❤\ufe0f  Great\u00b4s, _Ｏｎｅ_...") == "❤ great s one"
    assert fine_form("नमस्ते!") == "नमस्ते"


@given(st.text(alphabet="aÀß1Ｚ好 ,.!_\U0001f602+$कीé"))
def test_where_signs_do_not_count_the_fine_form_is_the_plain_one(text):
    assert normalise(fine_form(text)) == normalise(text)


def test_eight_tenths_are_trained_on_and_equal_keys_stay_together():
    keys = [f"sentence {i}" for i in range(5000)]
    split = hash_split(keys)
    for name, share in (("train", 0.8), ("validation", 0.1), ("test", 0.1)):
        assert (split == name).mean() == pytest.approx(share, abs=0.02)
    assert np.array_equal(split[::-1], hash_split(keys[::-1]))


def test_language_is_seen_in_the_letters():
    assert [language_of(text) for text in ("手机", "funny 电影", "phone", "")] == ["zh", "zh", "en", "en"]


def test_duplicates_go_and_contradictions_go_altogether():
    texts = ["Good.", "good", "Bad", "bad!", "fine", "  ", "Fine  day"]
    labels = np.array([1, 1, 0, 1, 1, 0, 1], np.int32)
    corpus = collect("tiny", texts, {"intent": (("no", "yes"), labels)}, "en")
    assert corpus.texts.tolist() == ["Good.", "fine", "Fine day"]
    assert corpus.intent.tolist() == [1, 1, 1]
    assert corpus.labels == {"intent": ("no", "yes")}
    assert corpus.language.tolist() == ["en"] * 3


def test_nothing_left_is_an_error():
    with pytest.raises(ValueError, match="corpus tiny: expected texts with labels, got none"):
        collect("tiny", ["?"], {"intent": (("no", "yes"), np.array([0]))}, "en")
