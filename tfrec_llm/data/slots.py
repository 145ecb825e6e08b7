"""SYNTHETIC sentences whose spans are known: attributes and prices, in templates and in the manner of search boxes.

Place in the flow: they come after the dataset (which values do its items have?) and train the slot tagger and the value
heads of the text stage. Templates, words and price phrases are split 70/30 between training and test like all others.
"""

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from tfrec_llm.data.texts import normalise
from tfrec_llm.data.voices import Template, Voice, languages_of, value_key, voices_of
from tfrec_llm.types import FIRST_ITEM, Catalogue, Dataset, Span, SpanUtterances

PRICE_KINDS = ("low", "high", "below", "above")  # of spans; "between" is a span of "above" and one of "below"
KEYWORDS = 0.4  # share of sentences that are words in a row, as in a search box
PRICED = 0.5  # share of sentences with a price
SPELT = 0.2  # share of Chinese prices in number words
FELT = 0.2  # share of sentences with a feeling, which is no slot
POWERS = ((10_000, "万"), (1000, "千"), (100, "百"), (10, "十"), (1, ""))
MONEY = ("{}", "{}", "${}", "{} dollars", "{} bucks", "{} euros", "€{}", "£{}", "{} USD", "{} yuan", "{}$")
Segment = tuple[str, str, str]  # text, kind ("" = none), value


def frequent_values(
    catalogue: Catalogue, attributes: Sequence[str], least: int, most: int
) -> dict[str, tuple[str, ...]]:
    """The values of each attribute that are worth listening for, sorted.

    Args:
      catalogue: the items; an attribute that it lacks has no values.
      attributes: names, as in `Domain.utterance_attributes`.
      least: items that must share a value.
      most: values of one attribute at most, the commonest.
    """
    found = {}
    for name in attributes:
        counts = Counter(value for values in catalogue.attributes.get(name, ())[FIRST_ITEM:] for value in set(values))
        common = sorted((-count, value) for value, count in counts.items() if count >= least and value.strip())
        found[name] = tuple(sorted(value for _, value in common[:most]))
    return {name: values for name, values in found.items() if values}


def span_utterances(dataset: Dataset, values: Mapping[str, tuple[str, ...]], rows: int, seed: int) -> SpanUtterances:
    """Sentences of the domain's templates, and words in a row, with the spans of what they name.

    A value that the domain has no words for is called by its own name, on both sides.

    Args:
      dataset: for its domain.
      values: attribute -> values that may be named, as of `frequent_values`.
      rows: sentences to make; of those that come out twice one is kept.
      seed: chooses everything but the sides.
    """
    rng, domain = np.random.default_rng([seed, 11]), dataset.domain
    voices = {side: voices_of(domain, side) for side in ("train", "test")}
    kept: dict[str, tuple[str, str, tuple[Span, ...]]] = {}
    for row in range(rows):
        split = ("train", "validation", "test")[int(rng.choice(3, p=(0.7, 0.1, 0.2)))]
        place = row % len(voices["train"])
        voice, language = voices["test" if split == "test" else "train"][place], languages_of(domain)[place]
        segments = (_keywords if rng.random() < KEYWORDS else _sentence)(voice, values, language, rng)
        text, spans = _joined(_marked(segments, voices, place))
        kept.setdefault(normalise(text), (text, split, spans))
    texts, splits, spans = zip(*kept.values(), strict=True) if kept else ((),) * 3
    return SpanUtterances(np.array(texts, dtype=np.str_), np.array(splits, dtype=np.str_), spans)


def ways(voice: Voice, value: str) -> tuple[str, ...]:
    """How a value may be said: the domain's words, or else its own name."""
    return voice.words.get(value_key(value)) or (value_key(value),)


def _pick(choices: Sequence, rng: np.random.Generator):
    return choices[int(rng.integers(len(choices)))]


def _word(voice: Voice, name: str, values: Mapping[str, tuple[str, ...]], rng: np.random.Generator) -> Segment:
    value = _pick(values[name], rng)
    return _pick(ways(voice, value), rng), name, value


def _sentence(
    voice: Voice, values: Mapping[str, tuple[str, ...]], language: str, rng: np.random.Generator
) -> list[Segment]:
    """A filled template, perhaps with a price before a word of it or beside it, and a feeling."""
    fitting = [t for t in voice.templates if t.holes <= values.keys()]
    named = [t for t in fitting if t.holes]
    template = _pick(named if named and rng.random() < 0.8 else fitting, rng)
    segments = _filled(template, voice, values, rng)
    if voice.prices and rng.random() < PRICED:
        price = _price(voice, language, rng)
        holes = [i for i, (_, kind, _) in enumerate(segments) if kind]
        if holes and price[0][1] in ("low", "high") and rng.random() < 0.5:
            glue = " " if language == "en" else _pick(("", "的"), rng)
            segments[holes[0] : holes[0]] = [*price, (glue, "", "")]
        else:
            segments = _beside(segments, price, language, rng)
    feelings = [phrase for phrases in voice.feelings.values() for phrase in phrases]
    if feelings and rng.random() < FELT:
        segments = _beside(segments, [(_pick(feelings, rng), "", "")], language, rng)
    first, kind, value = segments[0]
    return [(first[:1].upper() + first[1:], kind, value), *segments[1:]] if rng.random() < 0.2 else segments


def _filled(
    template: Template, voice: Voice, values: Mapping[str, tuple[str, ...]], rng: np.random.Generator
) -> list[Segment]:
    segments: list[Segment] = []
    for text, name, _, _ in string.Formatter().parse(template.text):
        segments += [(text, "", "")] if text else []
        segments += [_word(voice, name, values, rng)] if name else []
    return segments


def _keywords(
    voice: Voice, values: Mapping[str, tuple[str, ...]], language: str, rng: np.random.Generator
) -> list[Segment]:
    """One to three attributes and perhaps a price, in any order."""
    names = list(rng.permutation(sorted(values))[: int(rng.integers(1, 4))]) if values else []
    parts = [[_word(voice, str(name), values, rng)] for name in names]
    if voice.prices and (not parts or rng.random() < PRICED):
        parts.append(_price(voice, language, rng))
    if not parts:
        return _sentence(voice, values, language, rng)
    glue = _pick((" ", ", ") if language == "en" else (" ", "", "，"), rng)
    segments = list(parts[0])
    for place in rng.permutation(len(parts) - 1) + 1:
        other = parts[place]
        segments = [*segments, (glue, "", ""), *other] if rng.random() < 0.5 else [*other, (glue, "", ""), *segments]
    return segments


def _beside(segments: list[Segment], others: list[Segment], language: str, rng: np.random.Generator) -> list[Segment]:
    glue = (_pick((" ", ", ", ". ") if language == "en" else ("，", " ", ""), rng), "", "")
    return [*segments, glue, *others] if rng.random() < 0.7 else [*others, glue, *segments]


def _price(voice: Voice, language: str, rng: np.random.Generator) -> list[Segment]:
    kind = _pick(sorted(voice.prices), rng)
    phrase, (least, most) = _pick(voice.prices[kind], rng), sorted((_amount(rng), _amount(rng)))
    money = _pick(MONEY, rng) if language == "en" else "{}"
    said = [money.format(_written(amount, rng)) for amount in (least, most)]
    (own,) = rng.spawn(1)  # takes nothing from `rng`: sentences without number words are the same as without this
    if language == "zh" and own.random() < SPELT:
        said = [_spelt(amount, own) for amount in (least, most)]
    if kind != "between":
        text = phrase.format(amount=said[0])
        return [(text, kind, text)]
    cut = phrase.index("{least}") + len("{least}")
    first, second = phrase[:cut].format(least=said[0]), phrase[cut:].format(most=said[1])
    space = second[: len(second) - len(second.lstrip())]
    return [(first, "above", first), *([(space, "", "")] if space else []), (second.lstrip(), "below", second.lstrip())]


def _amount(rng: np.random.Generator) -> float:
    """Between 1 and 20,000, every order of magnitude alike, mostly round."""
    amount = 10 ** rng.uniform(0, 4.3)
    digits = int(rng.integers(1, 4))
    amount = float(f"{amount:.{digits}g}")
    return max(amount - 0.01, 0.99) if rng.random() < 0.1 else amount


def _written(amount: float, rng: np.random.Generator) -> str:
    if amount >= 1000 and rng.random() < 0.2:
        return f"{amount:,.0f}"
    return f"{amount:.0f}" if amount == int(amount) else f"{amount:.2f}"


def _spelt(amount: float, rng: np.random.Generator) -> str:
    """An amount in Chinese number words, without cents; below ten in digits, since a lone 一 is mostly no number."""
    if amount < 10:
        return _written(amount, rng)
    words = number_words(int(amount))
    return re.sub("二(?=[百千万])", "两", words) if rng.random() < 0.5 else words


def number_words(number: int) -> str:
    """A whole number from 1 to 99,999 in Chinese: 1,050 is 一千零五十."""
    said, gap = "", False
    for power, sign in POWERS:
        digit = number // power % 10
        if digit:
            said += ("零" if gap and said else "") + "零一二三四五六七八九"[digit] + sign
        gap = digit == 0
    return said.removeprefix("一") if said.startswith("一十") else said


def _marked(segments: Sequence[Segment], voices: Mapping[str, tuple[Voice, ...]], place: int) -> list[Segment]:
    """Price words that a template or a feeling says without a hole are spans too."""
    known = {p: k for side in voices.values() for k in ("low", "high") for p in side[place].prices.get(k, ())}
    if not known:
        return list(segments)
    phrases = "|".join(re.escape(p) for p in sorted(known, key=len, reverse=True))
    pattern = re.compile(rf"(?<![A-Za-z])(?:{phrases})(?![A-Za-z])")
    marked: list[Segment] = []
    for text, kind, value in segments:
        if kind:
            marked.append((text, kind, value))
            continue
        begin = 0
        for match in pattern.finditer(text):
            marked += [(text[begin : match.start()], "", ""), (match[0], known[match[0]], match[0])]
            begin = match.end()
        marked.append((text[begin:], "", ""))
    return [segment for segment in marked if segment[0]]


def _joined(segments: Sequence[Segment]) -> tuple[str, tuple[Span, ...]]:
    text, spans = "", []
    for part, kind, value in segments:
        if kind:
            spans.append(Span(len(text), len(text) + len(part), kind, value))
        text += part
    return text, tuple(spans)
