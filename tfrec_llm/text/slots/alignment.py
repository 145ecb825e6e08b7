"""Character spans <-> tokens, by the pieces that the ids stand for; the same for every tokenizer that tells them."""

import unicodedata
from collections.abc import Sequence

import numpy as np

from tfrec_llm.types import Span

LOOK_AHEAD = 48  # characters in which a piece is looked for after unknown tokens


def token_places(text: str, pieces: Sequence[str]) -> np.ndarray:
    """Where the tokens of a text stand in it.

    Width, case and accents do not count. Tokens that tell no piece share the characters between their neighbours.

    Args:
      text: L tokens' text, with whatever prefix the encoder puts before it.
      pieces: [L] what each token stands for, "▁" for the beginning of a word, "" where nothing is known.

    Returns:
      [L, 2] int32 first character and one past the last; both equal where a token covers none.
    """
    stream, origin = _folded(text)
    places, at = np.zeros((len(pieces), 2), np.int32), 0
    waiting: list[tuple[int, int]] = []  # tokens without a place yet, and whether they cover anything
    for token, piece in enumerate([*pieces, None]):  # the end is found behind all
        shown = "" if piece is None else _folded(piece.replace("▁", ""))[0]
        ahead = LOOK_AHEAD if any(weight for _, weight in waiting) else 0
        found = len(stream) if piece is None else stream.find(shown, at, at + len(shown) + ahead) if shown else -1
        if found < 0:
            waiting.append((token, int(shown != "" or piece == "")))
            continue
        shares = np.cumsum([0] + [weight for _, weight in waiting])
        edges = at + np.round((found - at) * shares / max(shares[-1], 1)).astype(int)
        for place, (one, _) in enumerate(waiting):
            places[one] = _range(origin, edges[place], edges[place + 1], len(text))
        waiting, at = [], found + len(shown)
        if piece is not None:
            places[token] = _range(origin, found, at, len(text))
    return places


def tags_of(places: np.ndarray, spans: Sequence[Span], kinds: Sequence[str]) -> np.ndarray:
    """BIO tags of tokens: 0 outside, 1 + 2k begins kind k, 2 + 2k goes on in it.

    Args:
      places: [L, 2] of `token_places`.
      spans: characters.
      kinds: the order of the kinds.

    Returns:
      [L] int32; a token belongs to a span that holds the larger part of it.
    """
    tags = np.zeros(len(places), np.int32)
    for span in spans:
        shared = np.minimum(places[:, 1], span.end) - np.maximum(places[:, 0], span.begin)
        inside = np.flatnonzero((shared > 0) & (2 * shared >= places[:, 1] - places[:, 0]))
        tags[inside] = 2 + 2 * list(kinds).index(span.kind)
        tags[inside[:1]] -= 1
    return tags


def spans_of(tags: Sequence[int], kinds: Sequence[str]) -> list[tuple[int, int, str]]:
    """Tokens (first, one past the last, kind) that BIO tags mark; an inside without its beginning begins."""
    spans: list[tuple[int, int, str]] = []
    for token, tag in enumerate(tags):
        if tag <= 0:
            continue
        kind, begins = kinds[(tag - 1) // 2], tag % 2 == 1
        if not begins and spans and spans[-1][1] == token and spans[-1][2] == kind:
            spans[-1] = (spans[-1][0], token + 1, kind)
        else:
            spans.append((token, token + 1, kind))
    return spans


def _range(origin: Sequence[int], begin: int, end: int, length: int) -> tuple[int, int]:
    """Places in the folded text -> places in the text."""
    if begin >= end:
        at = origin[begin] if begin < len(origin) else length
        return at, at
    return origin[begin], origin[end - 1] + 1


def _folded(text: str) -> tuple[str, list[int]]:
    """The text without width, case, accents and white space, and where each of its characters stood."""
    characters, origin = [], []
    for place, character in enumerate(text):
        folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", character).casefold())
        for part in folded:
            if not part.isspace() and not unicodedata.combining(part):
                characters.append(part)
                origin.append(place)
    return "".join(characters), origin
