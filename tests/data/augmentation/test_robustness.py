"""Slips that the stage is tested on."""

import numpy as np
import pytest

from tfrec_llm.data.augmentation import edits, robustness, word_lists
from tfrec_llm.data.augmentation.keyboard import NEIGHBOURS
from tfrec_llm.data.augmentation.robustness import chinese_typos, english_typos, parse_homophones

LINES = "shi\t是\t时\t使\t事\t式\t市\t师\nde\t的\t地\n".encode()


def draw(seed=1):
    return np.random.default_rng(seed)


def test_neighbours_of_a_key():
    assert sorted(NEIGHBOURS["s"]) == sorted("adwezx")
    assert sorted(NEIGHBOURS["p"]) == sorted("ol")
    assert all(key in NEIGHBOURS[other] for key, others in NEIGHBOURS.items() for other in others)


def test_homophones_are_the_common_ones_of_the_line():
    table = parse_homophones(LINES)
    assert table["的"] == "地"
    assert set(table["是"]) == set("时使事式市")  # the seventh is too rare
    assert "师" not in table


def test_an_english_slip_doubles_drops_or_hits_the_key_beside():
    seen = set()
    for seed in range(300):
        word = english_typos("Planet", draw(seed), 0.1)
        if len(word) == 5:
            assert any(word == "Planet"[:i] + "Planet"[i + 1 :] for i in range(6))
            seen.add("dropped")
        elif len(word) == 7:
            assert any(word == "Planet"[: i + 1] + "Planet"[i:] for i in range(6))
            seen.add("doubled")
        else:
            ((right, wrong),) = [(a, b) for a, b in zip("Planet", word, strict=True) if a != b]
            assert wrong in NEIGHBOURS[right.casefold()]
            seen.add("beside")
    assert seen == {"dropped", "doubled", "beside"}


def test_a_chinese_slip_sounds_the_same_or_is_written_twice():
    seen = {chinese_typos("的", draw(seed), 0.1, parse_homophones(LINES)) for seed in range(50)}
    assert seen == {"地", "的的"}


def test_synonyms_are_those_that_training_never_puts_in(monkeypatch):
    groups = {"film": tuple(f"word{i}" for i in range(40))}
    sides = {use: word_lists.make_list(word_lists.one_side(groups, use)) for use in word_lists.USES}
    monkeypatch.setattr(edits, "synonym_list", lambda language, use, wordnet="": sides[use])
    tested = {robustness.perturbed(["film"], ["en"], "synonyms", draw(seed))[0] for seed in range(100)}
    trained = {edits.synonyms(["film"], ["en"], draw(seed))[0] for seed in range(100)}
    assert tested.isdisjoint(trained)
    assert len(tested) > 5


def test_equal_generators_give_equal_texts_and_an_unknown_kind_is_refused():
    texts, languages = ["please play some music", "a"], ["en", "en"]
    once = robustness.perturbed(texts, languages, "typos", draw())
    assert once == robustness.perturbed(texts, languages, "typos", draw())
    assert once[0] != texts[0]
    assert once[1] == "a"
    with pytest.raises(ValueError, match="expected a kind among"):
        robustness.perturbed(texts, languages, "accents", draw())
