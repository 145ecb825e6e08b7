"""Small edits of a text for training: synonyms, swap, delete (EDA, Wei & Zou, 2019), and character noise.

Each takes texts [R], their languages [R], a generator and the share of a text's words that change (at least one does,
where one can), and gives as many texts. Words for English, characters for Chinese. Next: `augment` in this package.
"""

import string
from collections.abc import Callable, Sequence

import numpy as np

from tfrec_llm.data.augmentation.keyboard import NEIGHBOURS
from tfrec_llm.data.augmentation.segments import content_places, known_words, pieces
from tfrec_llm.data.augmentation.word_lists import SynonymList, synonym_list

STRENGTH = 0.1  # share of a text's words that change


def synonyms(
    texts: Sequence[str],
    languages: Sequence[str],
    rng: np.random.Generator,
    strength: float = STRENGTH,
    use: str = "train",
    wordnet: str = "",
) -> list[str]:
    """Puts synonyms in the place of words.

    Args:
      texts: [R].
      languages: [R] "en" or "zh".
      rng: draws words and replacements.
      strength: share of a text's words that change, of those that have a synonym.
      use: which half of the lists may be put in, "train" or "test".
      wordnet: see `word_lists.synonym_list`.

    Returns:
      [R] texts; one in which no word has a synonym stays as it is.
    """
    lists = {language: synonym_list(language, use, wordnet) for language in sorted(set(languages))}
    return [put_in(text, lang, lists[lang], rng, strength) for text, lang in zip(texts, languages, strict=True)]


def put_in(text: str, language: str, words: SynonymList, rng: np.random.Generator, strength: float) -> str:
    """One text with synonyms from a list."""
    parts, places = known_words(text, language, words)
    for place in _drawn(places, len(content_places(parts)), rng, strength):
        choice = words.words[parts[place].casefold() if language != "zh" else parts[place]]
        new = choice[rng.integers(len(choice))]
        parts[place] = new.capitalize() if parts[place][0].isupper() else new
    return "".join(parts)


def swap(
    texts: Sequence[str], languages: Sequence[str], rng: np.random.Generator, strength: float = STRENGTH
) -> list[str]:
    """Two words (characters, where Chinese) change places; as `synonyms`, once for each share of words."""
    return _each(_swapped, texts, languages, rng, strength)


def delete(
    texts: Sequence[str], languages: Sequence[str], rng: np.random.Generator, strength: float = STRENGTH
) -> list[str]:
    """Words (characters, where Chinese) are left out; one always stays."""
    return _each(_shortened, texts, languages, rng, strength)


def noise(
    texts: Sequence[str], languages: Sequence[str], rng: np.random.Generator, strength: float = STRENGTH
) -> list[str]:
    """Characters are spoilt: neighbours in a word change places, a stray letter replaces one or comes in.

    Not the slips of `robustness.typos`: those double, drop or hit a neighbouring key, while a letter put in here never
    lies beside the right one, and a Chinese character is one of the same texts, whatever it sounds like.
    """
    pool = sorted({c for text, language in zip(texts, languages, strict=True) if language == "zh" for c in text})
    pool = [character for character in pool if character.isalnum()]

    def spoil(text: str, language: str, draw: np.random.Generator, share: float) -> str:
        return _spoilt(text, language, draw, share, pool)

    return _each(spoil, texts, languages, rng, strength)


Edit = Callable[[str, str, np.random.Generator, float], str]


def _each(edit: Edit, texts: Sequence[str], languages: Sequence[str], rng: np.random.Generator, share: float):
    return [edit(text, language, rng, share) for text, language in zip(texts, languages, strict=True)]


def _drawn(places: Sequence[int], of: int, rng: np.random.Generator, strength: float) -> list[int]:
    """Some of the places: `strength` of all `of` words, at least one and at most all of them."""
    count = min(len(places), max(1, round(strength * of)))
    return [int(place) for place in rng.choice(places, count, replace=False)] if count else []


def _swapped(text: str, language: str, rng: np.random.Generator, strength: float) -> str:
    parts = pieces(text, language)
    places = content_places(parts)
    for _ in range(max(1, round(strength * len(places))) if len(places) > 1 else 0):
        one, other = rng.choice(places, 2, replace=False)
        parts[one], parts[other] = parts[other], parts[one]
    return "".join(parts)


def _shortened(text: str, language: str, rng: np.random.Generator, strength: float) -> str:
    parts = pieces(text, language)
    places = content_places(parts)
    gone = set(_drawn(places, len(places), rng, strength)) if len(places) > 1 else set()
    if gone and len(gone) == len(places):
        gone.pop()
    left = "".join(part for place, part in enumerate(parts) if place not in gone)
    return left if language == "zh" else " ".join(left.split())


def _spoilt(text: str, language: str, rng: np.random.Generator, strength: float, pool: Sequence[str]) -> str:
    if language == "zh":
        return _spoilt_chinese(text, rng, strength, pool)
    parts = pieces(text, language)
    words = [place for place in content_places(parts) if len(parts[place]) > 2 and parts[place].isalpha()]
    for place in _drawn(words, len(words), rng, strength):
        word = parts[place]
        at, way = int(rng.integers(len(word) - 1)), int(rng.integers(3))
        if way:  # a stray letter: in place of this one, or behind it
            parts[place] = word[: at + way - 1] + _far_letter(word[at], rng) + word[at + 1 :]
        else:
            parts[place] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return "".join(parts)


def _far_letter(letter: str, rng: np.random.Generator) -> str:
    """A letter that lies neither on the key of this one nor beside it."""
    near = NEIGHBOURS.get(letter.casefold(), "") + letter.casefold()
    far = [other for other in string.ascii_lowercase if other not in near]
    return far[rng.integers(len(far))]


def _spoilt_chinese(text: str, rng: np.random.Generator, strength: float, pool: Sequence[str]) -> str:
    parts = list(text)
    places = content_places(parts)
    for place in _drawn(places, len(places), rng, strength):
        if rng.random() < 0.5 and place + 1 < len(parts):
            parts[place], parts[place + 1] = parts[place + 1], parts[place]
        elif pool:
            parts[place] = pool[rng.integers(len(pool))]
    return "".join(parts)
