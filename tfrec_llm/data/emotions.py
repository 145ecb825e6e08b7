"""Words that carry an emotion, in English and Chinese, and weak labels made of them.

Place in the flow: no corpus at hand has sentences with emotions, so real review text is labelled weakly by these words.
Such labels are a rule's opinion: agreement with them is called agreement, never accuracy.
"""

import functools
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from tfrec_llm.data import sources

EMOTIONS = ("neutral", "joy", "love", "surprise", "anger", "sadness", "fear", "disgust")
# What a feeling says about liking; surprise goes either way and is left out.
SENTIMENT_OF: Mapping[str, str] = {
    "neutral": "neutral",
    "joy": "positive",
    "love": "positive",
    "anger": "negative",
    "sadness": "negative",
    "fear": "negative",
    "disgust": "negative",
}
NRC = "nrclex/data/nrc_en.json"
DUTIR = "cntext/io/data/zh_common_DUTIR.yaml"
# Trust and the DUTIR class of affection and praise both become love; anticipation has no counterpart and is left out.
NRC_NAMES: Mapping[str, str | None] = {
    "anger": "anger",
    "anticipation": None,
    "disgust": "disgust",
    "fear": "fear",
    "joy": "joy",
    "sadness": "sadness",
    "surprise": "surprise",
    "trust": "love",
    "positive": None,
    "negative": None,
}
DUTIR_NAMES: Mapping[str, str] = {
    "乐": "joy",
    "好": "love",
    "怒": "anger",
    "哀": "sadness",
    "惧": "fear",
    "恶": "disgust",
    "惊": "surprise",
}
_NEGATORS = {
    "en": frozenset(("not", "no", "never", "without", "hardly", "nothing", "cannot", "neither", "nor")),
    "zh": frozenset("不没无别未非勿"),
}
# What makes a feeling stronger or weaker, and how much its word then counts. None of them is a negation, whatever
# characters are in it.
_DEGREES = {
    "en": dict.fromkeys(("very", "really", "so", "extremely", "absolutely", "incredibly", "truly", "totally"), 2.0)
    | dict.fromkeys(("highly", "deeply", "utterly", "completely", "super"), 2.0)
    | dict.fromkeys(("slightly", "somewhat", "fairly", "bit", "little", "rather"), 0.5),
    "zh": dict.fromkeys(
        ("非常", "特别", "十分", "极其", "极为", "超级", "无比", "太", "很", "真", "超", "最", "好"), 2.0
    )
    | dict.fromkeys(("有点", "有些", "稍微", "略", "比较", "还算"), 0.5)
    | dict.fromkeys(("这么", "那么", "真的", "是", "的", "地", "感到", "觉得", "让我", "让人"), 1.0),
}
_NOT_ONLY = {
    "en": frozenset(("only", "just", "doubt")),
    "zh": ("不但", "不仅", "不光", "不过", "不愧", "不禁", "别致", "不得不", "不能不", "不会不"),
}
_REACH = {"en": 3, "zh": 2}  # how many words (characters in Chinese) before an emotion word a negation is looked for
Hits = list[tuple[str, float]]  # emotion words of a text and how much each counts
Words = Mapping[str, frozenset[str]]


def emotion_words(language: str) -> dict[str, frozenset[str]]:
    """Word -> its emotions, names of `EMOTIONS` without neutral.

    Args:
      language: "en" (NRC, from the archive nrclex) or "zh" (DUTIR, from cntext).

    Raises:
      ValueError: another language.
    """
    _check_language(language)
    return dict(_words_of(language))


def weak_emotion(texts: Sequence[str], language: str, words: Words | None = None) -> np.ndarray:
    """The emotion that most words of each text carry; a negated word does not count, a stressed one counts twice.

    Args:
      texts: [R].
      language: "en" or "zh".
      words: by default `emotion_words(language)`.

    Returns:
      [R] int32 positions in `EMOTIONS`; -1 where no word counts or two emotions are level. A word with several
      emotions gives each of them an equal part of its one vote.
    """
    _check_language(language)
    words = _words_of(language) if words is None else words
    find = _english_hits if language == "en" else functools.partial(_chinese_hits, sizes=_sizes(words))
    return np.array([_winner(find(text, words), words) for text in texts], dtype=np.int32)


def parse_nrc(content: bytes) -> dict[str, frozenset[str]]:
    """A JSON object: word -> names of NRC classes."""
    table = json.loads(content)
    named = {word: frozenset(NRC_NAMES[name] for name in names) - {None} for word, names in table.items()}
    return {word.casefold(): emotions for word, emotions in named.items() if emotions}


def parse_dutir(content: bytes) -> dict[str, frozenset[str]]:
    """The `Dictionary:` part of a YAML file: a class in each indented key, a word in each dash below it."""
    table: dict[str, set[str]] = {}
    inside, emotion = False, ""
    for line in content.decode("utf-8").splitlines():
        entry = line.strip()
        if not line.startswith((" ", "-")):
            inside = entry == "Dictionary:"
        elif inside and entry.endswith(":") and not entry.startswith("-"):
            emotion = DUTIR_NAMES[entry[:-1]]
        elif inside and entry.startswith("- "):
            table.setdefault(entry[2:].strip().strip("'\""), set()).add(emotion)
    return {word: frozenset(emotions) for word, emotions in table.items() if word}


@functools.cache
def _words_of(language: str) -> dict[str, frozenset[str]]:
    if language == "en":
        return parse_nrc(sources.read_member("nrclex", NRC))
    return parse_dutir(sources.read_member("cntext", DUTIR))


def _check_language(language: str) -> None:
    if language not in _NEGATORS:
        raise ValueError(f"expected the language 'en' or 'zh', got {language!r}.")


def _english_hits(text: str, words: Words) -> Hits:
    """Emotion words that no negation among the three words before them, in the same clause, takes back.

    Words of degree between the two do not count as words; two negations take each other back.
    """
    hits: Hits = []
    for clause in re.split(r"[.,;:!?()\n]|\bbut\b", text.casefold().replace("’", "'")):
        tokens = re.findall(r"[a-z]+(?:'[a-z]+)?", clause)
        for place, token in enumerate(tokens):
            if token in words:
                before = [t for t in tokens[:place] if t not in _DEGREES["en"]][-_REACH["en"] :]
                following = [*before, token][1:]
                pairs = zip(before, following, strict=True)
                negations = sum(_negates(one, other) for one, other in pairs)
                degree = _DEGREES["en"].get(tokens[place - 1], 1.0) if place else 1.0
                hits += [(token, degree)] if negations % 2 == 0 else []
    return hits


def _negates(token: str, following: str) -> bool:
    """Whether an English word takes back what comes after it; "not only" and "no doubt" do not."""
    return (token in _NEGATORS["en"] or token.endswith("n't")) and following not in _NOT_ONLY["en"]


def _chinese_hits(text: str, words: Words, sizes: Mapping[str, tuple[int, ...]]) -> Hits:
    """Longest words first, from left to right; a negation in the two characters before a word takes it back.

    Words of degree before the word are passed over. Words of one character are too ambiguous without a segmenter and
    are left out.
    """
    hits, place, end = [], 0, 0
    while place < len(text):
        fitting = sizes.get(text[place : place + 2], ())
        size = next((size for size in fitting if text[place : place + size] in words), 0)
        if size:
            before, degree = _peeled(text[end:place])
            if sum(character in _NEGATORS["zh"] for character in before[-_REACH["zh"] :]) % 2 == 0:
                hits.append((text[place : place + size], degree))
            end = place + size
        place += max(size, 1)
    return hits


def _peeled(before: str) -> tuple[str, float]:
    """What stands before a Chinese word in its clause, without words of degree at its end, and their degree."""
    before, degree, peeled = re.split(r"[，。！？；、,.!?;\s]|但是?|可是", before)[-1], 1.0, True
    for phrase in _NOT_ONLY["zh"]:
        before = before.replace(phrase, "")
    while peeled:
        peeled = max((word for word in _DEGREES["zh"] if before.endswith(word)), key=len, default="")
        degree = degree if _DEGREES["zh"].get(peeled, 1.0) == 1.0 else _DEGREES["zh"][peeled]
        before = before[: len(before) - len(peeled)]
    return before, degree


def _sizes(words: Words) -> dict[str, tuple[int, ...]]:
    """First two characters -> lengths of the words that begin so, longest first."""
    sizes: dict[str, set[int]] = {}
    for word in words:
        if len(word) > 1:
            sizes.setdefault(word[:2], set()).add(len(word))
    return {begin: tuple(sorted(lengths, reverse=True)) for begin, lengths in sizes.items()}


def _winner(hits: Hits, words: Words) -> int:
    votes: Counter[str] = Counter()
    for word, degree in hits:
        for emotion in words[word]:
            votes[emotion] += degree / len(words[word])
    ranked = sorted(votes.values(), reverse=True)
    if not ranked or (len(ranked) > 1 and ranked[0] - ranked[1] < 1e-9):
        return -1
    return EMOTIONS.index(max(votes, key=votes.__getitem__))
