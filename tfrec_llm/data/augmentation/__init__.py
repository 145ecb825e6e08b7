"""Training texts in other words: each pass of the text stage may read them edited. Used by `text`, never by a test set.

`robustness` beside it makes the texts that the stage is tested on; nothing of it is used here.
"""

from collections.abc import Callable, Sequence

import numpy as np

from tfrec_llm.config import Augment
from tfrec_llm.data.augmentation.back_translation import back_translation
from tfrec_llm.data.augmentation.edits import delete, noise, swap, synonyms

__all__ = ["AUGMENTATIONS", "augment", "back_translation", "delete", "noise", "swap", "synonyms"]

Texts = Sequence[str]


def _synonyms(texts: Texts, languages: Texts, rng: np.random.Generator, settings: Augment) -> list[str]:
    return synonyms(texts, languages, rng, settings.synonyms, wordnet=settings.wordnet)


def _swap(texts: Texts, languages: Texts, rng: np.random.Generator, settings: Augment) -> list[str]:
    return swap(texts, languages, rng, settings.swap)


def _delete(texts: Texts, languages: Texts, rng: np.random.Generator, settings: Augment) -> list[str]:
    return delete(texts, languages, rng, settings.delete)


def _noise(texts: Texts, languages: Texts, rng: np.random.Generator, settings: Augment) -> list[str]:
    return noise(texts, languages, rng, settings.noise)


def _back(texts: Texts, languages: Texts, rng: np.random.Generator, settings: Augment) -> list[str]:
    return back_translation(texts, languages, rng, settings.back_translation)


AUGMENTATIONS: dict[str, Callable[[Texts, Texts, np.random.Generator, Augment], list[str]]] = {
    "synonyms": _synonyms,
    "swap": _swap,
    "delete": _delete,
    "noise": _noise,
    "back_translation": _back,
}  # each is a field of the settings: how strongly, or with what; 0 or empty = off


def augment(texts: Texts, languages: Texts, settings: Augment, rng: np.random.Generator) -> list[str]:
    """Texts of one pass: a share of them, each changed in one of the ways that are on.

    Args:
      texts: [R] training texts.
      languages: [R] "en" or "zh".
      settings: how strong each way is, and the share of texts.
      rng: draws texts, ways and changes; equal generators give equal texts.

    Returns:
      [R] texts, in the same order. With no way on they are the same.
    """
    result, ways = [str(text) for text in texts], [name for name in AUGMENTATIONS if getattr(settings, name)]
    if not ways:
        return result
    way = np.where(rng.random(len(result)) < settings.share, rng.integers(len(ways), size=len(result)), -1)
    for number, name in enumerate(ways):
        rows = np.flatnonzero(way == number)
        if len(rows):
            changed = AUGMENTATIONS[name]([result[i] for i in rows], [languages[i] for i in rows], rng, settings)
            for row, text in zip(rows, changed, strict=True):
                result[row] = text
    return result
