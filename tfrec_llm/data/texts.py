"""Sentences of a corpus -> Utterances: normal form, duplicates, and a split that depends on the text alone.

Place in the flow: every loader of labelled text ends here, so that no sentence is in two splits.
"""

import hashlib
import itertools
import logging
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tfrec_llm.types import Utterances

log = logging.getLogger(__name__)
SENTIMENTS = ("negative", "neutral", "positive")
SPLITS = ("train", "validation", "test")
LEFT_OUT = 0.02  # share of texts left out for one reason from which on that is a warning
SELECTOR = "VARIATION SELECTOR"  # says whether a sign is drawn in colour: Unicode's name for it begins so
LONGEST = 8_000  # characters that are kept of a text: no encoder reads so many


def normalise(text: str) -> str:
    """What is left of a text when width, case, spaces and punctuation do not count; "" where nothing is left."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.sub(r"[\W_]+", " ", folded).split())


def fine_form(text: str) -> str:
    """The same where symbols, emoji and the marks of letters count: "C++" is not "C", "ok \U0001f602" is not "ok"."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.sub(r"[\W_]+", _counted, folded).split())


def _counted(between: re.Match) -> str:
    """What counts of the signs between two letters: the marks of the first one, and symbols as words of their own."""
    signs = [sign for sign in between[0] if not unicodedata.name(sign, "").startswith(SELECTOR)]
    marks = list(itertools.takewhile(lambda sign: _kind(sign) == "M", signs)) if between.start() else []
    symbols = [f" {sign} " if _kind(sign) == "S" else " " for sign in signs[len(marks) :]]
    return "".join(marks + symbols)


def _kind(sign: str) -> str:
    return unicodedata.category(sign)[0]


def language_of(text: str) -> str:
    """ "zh" where a text has a Chinese character, otherwise "en"."""
    return "zh" if re.search(r"[\u3400-\u9fff]", text) else "en"


def hash_split(keys: Sequence[str]) -> np.ndarray:
    """80 % train, 10 % validation, 10 % test, by a hash of each key.

    Args:
      keys: [R] normalised texts; equal keys go to the same split, in every corpus and every run.

    Returns:
      [R] str of `SPLITS`.
    """
    tenths = [int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % 10 for key in keys]
    return np.array([SPLITS[max(0, tenth - 7)] for tenth in tenths], dtype=np.str_)


def every_label_learnt(corpus: Utterances, movable: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The split of a corpus, with a training row of every label: where one has none, its rows become training rows.

    Args:
      corpus: its labels and its split.
      movable: [R] bool, rows that may become training rows.

    Returns:
      [R] str of `SPLITS`, and the labels whose rows were moved.
    """
    split, moved = corpus.split.copy(), []
    for kind, names in corpus.labels.items():
        column = getattr(corpus, kind)
        for place, name in enumerate(names):
            rows = column[:, place] if column.ndim == 2 else column == place
            if (rows & movable).any() and not (split[rows] == "train").any():
                split[rows & movable] = "train"
                moved.append(name)
    return split, moved


def collect(
    corpus: str,
    texts: Sequence[str],
    labels: Mapping[str, tuple[tuple[str, ...], np.ndarray]],
    language: str = "",
    keys: Sequence[str] | None = None,
    split: np.ndarray | None = None,
    where: str = "",
    form: Callable[[str], str] = normalise,
) -> Utterances:
    """A corpus: duplicates go first, then each text's hash decides its split where the corpus comes without one.

    Args:
      corpus: its name.
      texts: [R] as read; those of which the form leaves nothing are dropped.
      labels: "intent", "emotion" or "sentiment" -> names, and [R] int (-1 = none) or [R, names] bool (several at once).
      language: "en" or "zh" where all texts are in it; "" looks at each text.
      keys: [R] texts that must stay together where they are equal; by default the texts in their form.
      split: [R] of `SPLITS`, where the corpus has its own; of equal texts the tested one is kept, then the validated.
      where: what a message names; "" = the corpus.
      form: texts count as equal where this makes them equal.

    Returns:
      One row for each different text in that form, in the order of the file. Rows of one key add their labels up, one
      kind of label from one row and another from the next; where they come with two different labels of a kind all of
      them are left out: nobody knows which of them is right.
    """
    normal = [form(text) for text in texts]
    keys = normal if keys is None else list(keys)
    number: dict[str, int] = {}
    places = np.array([number.setdefault(key, len(number)) for key in keys], np.int64)
    values, agreed = {}, np.ones(len(keys), bool)
    for kind, (_, column) in labels.items():
        values[kind], same = _merged(places, column)
        agreed &= same
    kept, seen = [], {""}
    order = range(len(keys)) if split is None else sorted(range(len(keys)), key=lambda row: -SPLITS.index(split[row]))
    for row in order:
        if agreed[row] and normal[row] not in seen:
            seen.add(normal[row])
            kept.append(row)
    kept.sort()
    _tell_left_out(where or f"corpus {corpus}", len(kept), normal, agreed)
    return Utterances(
        corpus=corpus,
        texts=np.array([" ".join(texts[row].split())[:LONGEST] for row in kept], dtype=object),
        split=hash_split([keys[row] for row in kept]) if split is None else split[kept],
        language=np.array([language or language_of(texts[row]) for row in kept], dtype=np.str_),
        labels={kind: names for kind, (names, _) in labels.items()},
        **{kind: column[kept] for kind, column in values.items()},
    )


def _tell_left_out(where: str, kept: int, normal: Sequence[str], agreed: np.ndarray) -> None:
    """Says how many texts were left out and why; a corpus of which none is left is refused."""
    empty = sum(not text for text in normal)
    contrary = sum(bool(text) and not same for text, same in zip(normal, agreed, strict=True))
    why = f"{empty:,} of {len(normal):,} texts have nothing but punctuation, {contrary:,} come with different labels"
    if not kept:
        raise ValueError(f"{where}: expected texts with labels, got none that can be used: {why}; correct them.")
    if empty or contrary:
        level = logging.WARNING if max(empty, contrary) > LEFT_OUT * len(normal) else logging.INFO
        log.log(level, "%s: %s: left out", where, why)


def _merged(places: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the rows of each key say together of one kind of label.

    Args:
      places: [R] number of the key.
      values: [R] int (-1 = none) or [R, names] bool (no name = none).

    Returns:
      The values, those of rows without any taken from other rows of their key, and [R] bool: whether no two rows of
      the key differ.
    """
    known = np.flatnonzero(values.any(axis=1) if values.ndim == 2 else values >= 0)
    source = np.full(places.max(initial=-1) + 1, -1)
    source[places[known[::-1]]] = known[::-1]  # the first row of a key that has any
    differs = values[known] != values[source[places[known]]]
    contrary = np.zeros(len(source), bool)
    contrary[places[known[differs.any(axis=1) if values.ndim == 2 else differs]]] = True
    first = source[places]
    merged = np.where((first >= 0).reshape(-1, *[1] * (values.ndim - 1)), values[first], values)
    return merged, ~contrary[places]
