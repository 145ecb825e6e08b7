"""Edits of training texts, on invented lists."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.data.augmentation import edits
from tfrec_llm.data.augmentation.keyboard import NEIGHBOURS
from tfrec_llm.data.augmentation.segments import content_places, known_words, pieces
from tfrec_llm.data.augmentation.word_lists import make_list

ENGLISH = make_list({"film": ("movie",), "cheap": ("inexpensive",)})
CHINESE = make_list({"手机": ("电话机",), "便宜货": ("低价品",), "便宜": ("廉价",)})


def draw(seed=1):
    return np.random.default_rng(seed)


@given(st.text(max_size=60), st.sampled_from(["en", "zh"]))
def test_pieces_lose_nothing(text, language):
    assert "".join(pieces(text, language)) == text
    assert "".join(known_words(text, language, CHINESE)[0]) == text


def test_chinese_words_are_found_longest_first():
    parts, places = known_words("便宜货和便宜手机", "zh", CHINESE)
    assert parts == ["便宜货", "和", "便宜", "手机"]
    assert places == [0, 2, 3]


def test_synonyms_are_put_in_and_keep_the_capital():
    assert edits.put_in("Film, cheap film!", "en", ENGLISH, draw(), 1.0) == "Movie, inexpensive movie!"
    assert edits.put_in("便宜的手机", "zh", CHINESE, draw(), 1.0) == "廉价的电话机"
    assert edits.put_in("nothing to see", "en", ENGLISH, draw(), 1.0) == "nothing to see"


def test_strength_is_the_share_of_words_and_at_least_one():
    text = "film " * 20
    changed = Counter(edits.put_in(text, "en", ENGLISH, draw(), 0.1).split())
    assert changed == {"film": 18, "movie": 2}
    assert Counter(edits.put_in("film film", "en", ENGLISH, draw(), 0.1).split()) == {"film": 1, "movie": 1}


@given(st.text(alphabet="ab 手机,", max_size=30), st.sampled_from(["en", "zh"]), st.integers(0, 99))
def test_swap_keeps_the_pieces_and_delete_keeps_one(text, language, seed):
    (swapped,) = edits.swap([text], [language], draw(seed))
    assert Counter(pieces(swapped, language)) == Counter(pieces(text, language))
    (shorter,) = edits.delete([text], [language], draw(seed), 1.0)
    had, left = content_places(pieces(text, language)), content_places(pieces(shorter, language))
    assert len(left) == min(1, len(had))


def test_delete_removes_the_share_of_words():
    (text,) = edits.delete(["one two three four five six seven eight nine ten"], ["en"], draw(), 0.2)
    assert len(text.split()) == 8


def test_noise_never_makes_the_slips_of_the_test():
    seen = set()
    for seed in range(300):
        (text,) = edits.noise(["keyboard"], ["en"], draw(seed))
        if len(text) == 9:  # a stray letter came in, never one of the key before it or beside that
            places = [i for i in range(1, 9) if text[:i] + text[i + 1 :] == "keyboard"]
            assert any(text[i] not in NEIGHBOURS[text[i - 1]] + text[i - 1] for i in places)
            seen.add("more")
            continue
        assert len(text) == 8
        different = [(a, b) for a, b in zip("keyboard", text, strict=True) if a != b]
        if len(different) == 1:  # a letter of elsewhere
            assert different[0][1] not in NEIGHBOURS[different[0][0]]
            seen.add("other")
        else:  # two neighbours in the word changed places
            assert different[0] == different[1][::-1]
            seen.add("swapped")
    assert seen == {"more", "other", "swapped"}


def test_chinese_noise_draws_from_the_same_texts():
    texts = ["大屏手机便宜"] * 40
    changed = edits.noise(texts, ["zh"] * 40, draw(), 0.3)
    assert set("".join(changed)) <= set("大屏手机便宜")
    assert all(len(text) == 6 for text in changed)
    assert changed != texts


@pytest.mark.parametrize("name", ["swap", "delete", "noise"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_empty_and_tiny_texts_pass(name, language):
    texts = ["", " ", "a", "大", "?!", "😀", "\x00", "مرحبا"]
    got = getattr(edits, name)(texts, [language] * len(texts), draw())
    assert len(got) == len(texts)
    again = getattr(edits, name)(texts, [language] * len(texts), draw())
    assert got == again
