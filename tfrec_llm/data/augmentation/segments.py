"""A text as the pieces that edits work on: words of an English text, characters of a Chinese one.

`pieces` loses nothing: joined again they are the text. Used by the other modules of this package.
"""

import re

from tfrec_llm.data.augmentation.word_lists import SynonymList

_ENGLISH = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?|\d+|\s+|[^\w\s]|_")
# Words that carry grammar rather than meaning: a synonym for them makes nonsense.
STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a about after all also am an and any are as at be because been before being but by can could did do does "
        "doing down for from had has have having he her here him his how i if in into is it its just me more most "
        "my no nor not now of off on once only or other our out over own please same she should so some such than "
        "that the their them then there these they this those through to too under until up us very was we were "
        "what when where which while who whom why will with would you your",
    )
)


def pieces(text: str, language: str) -> list[str]:
    """A text cut up: characters of a Chinese text, else words, numbers, spaces and single marks."""
    return list(text) if language == "zh" else _ENGLISH.findall(text)


def content_places(parts: list[str]) -> list[int]:
    """Places of the pieces that begin with a letter or digit."""
    return [place for place, part in enumerate(parts) if part[0].isalnum()]


def known_words(text: str, language: str, synonyms: SynonymList) -> tuple[list[str], list[int]]:
    """Cuts a text so that each word of a list is one piece; Chinese: longest word first, from left to right.

    Returns:
      The pieces, and the places of those that are in the list (folded to lower case); English stop words never are.
    """
    if language != "zh":
        parts = pieces(text, language)
        places = [i for i, p in enumerate(parts) if p.casefold() in synonyms.words and p.casefold() not in STOP_WORDS]
        return parts, places
    parts, places, begin = [], [], 0
    while begin < len(text):
        sizes = range(min(synonyms.longest.get(text[begin], 1), len(text) - begin), 1, -1)
        size = next((size for size in sizes if text[begin : begin + size] in synonyms.words), 1)
        if size > 1:
            places.append(len(parts))
        parts.append(text[begin : begin + size])
        begin += size
    return parts, places
