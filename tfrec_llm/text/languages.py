"""The directions in which vectors tell a text's language rather than its meaning.

Place in the flow: the candidate source takes them out of utterances and item vectors before it compares them, so that
a Chinese question does not prefer what is written in Chinese (a mean per language taken off, as in Libovicky et al.,
2020, but as directions, which need no language of the question).
"""

from collections.abc import Sequence

import numpy as np

from tfrec_llm.config import Config
from tfrec_llm.data.texts import language_of
from tfrec_llm.data.voices import languages_of
from tfrec_llm.text.encoders.bulk import encode_queries
from tfrec_llm.text.encoders.encoder import TextEncoder
from tfrec_llm.types import FIRST_ITEM, Catalogue, Domain

LEAST = 10  # texts of a language below which their mean says little
NUM_AXES = 2


def language_axes(
    encoder: TextEncoder, domain: Domain, catalogue: Catalogue, items: np.ndarray, config: Config
) -> np.ndarray:
    """Directions between the means of two languages, of questions and of items.

    Args:
      encoder: as it will be served.
      domain: its templates without their holes stand for questions.
      catalogue: for the items' texts.
      items: [N+2, D] their vectors.
      config: section text.

    Returns:
      [2, D] float32, orthonormal rows; zero rows where only one language is there.
    """
    asked = [
        (language, template.replace("{", "").replace("}", ""))
        for language in languages_of(domain)
        for templates in domain.templates[language].values()
        for template in templates
    ]
    questions = encode_queries(encoder, config, [template for _, template in asked])
    told = np.flatnonzero(np.any(items != 0, axis=1) & (np.arange(len(items)) >= FIRST_ITEM))
    written = [language_of(str(catalogue.texts[row])) for row in told]
    return orthonormal(
        [difference(questions, [language for language, _ in asked]), difference(items[told], written)], encoder.dim
    )


def difference(vectors: np.ndarray, languages: Sequence[str]) -> np.ndarray | None:
    """[D] from the mean of one language to that of the other; None where either has fewer than 10 texts."""
    languages = np.array(languages)
    means = [
        vectors[languages == one].mean(axis=0) for one in np.unique(languages) if (languages == one).sum() >= LEAST
    ]
    return means[1] - means[0] if len(means) == 2 else None


def orthonormal(directions: Sequence[np.ndarray | None], dim: int) -> np.ndarray:
    """[NUM_AXES, dim] unit rows that span the directions, zero rows for those that are None or add nothing."""
    axes = np.zeros((NUM_AXES, dim), np.float32)
    for place, direction in enumerate(directions):
        if direction is None:
            continue
        rest = direction - axes.T @ (axes @ direction)
        length = np.linalg.norm(rest)
        if length > 1e-3 * max(np.linalg.norm(direction), 1e-9):
            axes[place] = rest / length
    return axes
