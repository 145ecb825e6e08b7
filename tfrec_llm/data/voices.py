"""What a domain's speakers may say: templates, words, feelings and prices, apart for training and test.

Place in the flow: `utterances` and `slots` make their synthetic sentences of it. Every list is split 70/30 by hash.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tfrec_llm.data.domains import LANGUAGES, holes
from tfrec_llm.types import Domain

SIDES = ("train", "test")


class Template(NamedTuple):
    """A sentence with holes, and what its speaker wants."""

    intent: str
    text: str
    holes: frozenset[str]


class Voice(NamedTuple):
    """What one side may say in one language."""

    templates: tuple[Template, ...]
    requests: tuple[Template, ...]
    words: Mapping[str, tuple[str, ...]]  # attribute value, case folded -> ways to say it
    feelings: Mapping[str, tuple[str, ...]]
    prices: Mapping[str, tuple[str, ...]]  # kind of a price phrase -> phrases


def held_out(phrases: Sequence[str], side: str) -> tuple[str, ...]:
    """One side's part of a list: 70 % for "train", 30 % for "test", at least one each where there are two.

    Args:
      phrases: different phrases; templates with the same holes are spread over both sides.
      side: "train" or "test".

    Returns:
      The part, in an order that depends on hashes alone, not on the order of `phrases`.
    """
    _check_side(side)
    ranked = sorted(phrases, key=lambda phrase: (sorted(holes(phrase)), hashlib.sha256(phrase.encode()).digest()))
    wanted = side == "test"
    return tuple(p for i, p in enumerate(ranked) if ((3 * i + 9) // 10 > (3 * i + 6) // 10) is wanted)


def _check_side(side: str) -> None:
    if side not in SIDES:
        raise ValueError(f"expected the split 'train' or 'test', got {side!r}.")


def value_key(value: str) -> str:
    """A value as the keys of `Voice.words` have it."""
    return " ".join(value.split()).casefold()


def languages_of(domain: Domain) -> tuple[str, ...]:
    """The languages that the domain has templates in."""
    return tuple(language for language in LANGUAGES if any(domain.templates.get(language, {}).values()))


def voices_of(domain: Domain, side: str) -> tuple[Voice, ...]:
    """What may be said on this side, one voice for each language that has templates."""
    _check_side(side)
    voices = tuple(_voice(domain, language, side) for language in languages_of(domain))
    if not voices or not all(voice.requests for voice in voices):
        raise ValueError(f"domain {domain.name}: expected templates of requests in each language, got none; add some.")
    return voices


def _voice(domain: Domain, language: str, side: str) -> Voice:
    templates = tuple(
        Template(intent, text, holes(text))
        for intent, texts in domain.templates[language].items()
        for text in held_out(texts, side)
    )
    words = {value_key(value): held_out(ways, side) for value, ways in domain.words.get(language, {}).items()}
    feelings = {emotion: held_out(texts, side) for emotion, texts in domain.feelings.get(language, {}).items()}
    prices = {kind: held_out(texts, side) for kind, texts in domain.prices.get(language, {}).items()}
    wanted = domain.requests or domain.intents
    return Voice(templates, tuple(t for t in templates if t.intent in wanted), words, feelings, prices)
