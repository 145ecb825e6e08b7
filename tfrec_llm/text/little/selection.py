"""Which texts a person should label next: those the heads are least sure of, and no two alike (active learning).

Uncertainty by margin (Scheffer et al., 2001) narrows the texts down; among those, each next one is the farthest from
all that are labelled or chosen (k-centre, Sener & Savarese, 2018). Used at the end of the text stage.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tfrec_llm.training import files

POOL = 5  # so many times as many uncertain texts as are wanted take part in the choice by distance


def uncertainty(probabilities: np.ndarray, multi_label: bool) -> np.ndarray:
    """How unsure a head is.

    Args:
      probabilities: [R, labels].
      multi_label: each label is decided on its own.

    Returns:
      [R] in [0, 1]: 1 minus the lead of the likeliest label over the second; where multi-label 1 minus the distance
      of the least sure label from one half, doubled.
    """
    if multi_label:
        return 1 - 2 * np.abs(probabilities - 0.5).min(1)
    ranked = np.sort(probabilities, 1)
    return 1 - (ranked[:, -1] - ranked[:, -2])


def farthest_first(vectors: np.ndarray, count: int, known: np.ndarray, first: int = 0) -> np.ndarray:
    """Greedy k-centre: each chosen row is the farthest from the known ones and those chosen before.

    Args:
      vectors: [R, D] of unit length.
      count: rows wanted; at most R come.
      known: [M, D] vectors that count as chosen, or none.
      first: the row that begins where nothing is known.

    Returns:
      [count] different row numbers, in the order of choice.
    """
    nearest = (vectors @ known.T).max(1) if len(known) else np.full(len(vectors), -np.inf)
    chosen: list[int] = []
    for _ in range(min(count, len(vectors))):
        row = first if not chosen and not len(known) else int(np.argmin(nearest))
        chosen.append(row)
        nearest = np.maximum(nearest, vectors @ vectors[row])
        nearest[chosen] = np.inf
    return np.array(chosen, np.int64)


def most_worth_labelling(unsure: np.ndarray, vectors: np.ndarray, count: int, labelled: np.ndarray) -> np.ndarray:
    """Rows to label next, most useful first.

    Args:
      unsure: [R] from `uncertainty`, of one head or the mean of several.
      vectors: [R, D] embeddings of unit length.
      count: rows wanted.
      labelled: [M, D] embeddings of the texts that have labels.

    Returns:
      [count] different row numbers; fewer where there are fewer rows.
    """
    pool = np.argsort(-unsure, kind="stable")[: POOL * count]
    return pool[farthest_first(vectors[pool], count, labelled)]


def write_list(
    path: Path, texts: Sequence[str], rows: np.ndarray, unsure: np.ndarray, guesses: Mapping[str, Sequence[str]]
) -> None:
    """Writes the list as CSV: `text`, `uncertainty`, and what each head guesses, to be corrected by hand.

    Args:
      path: the file, written whole or not at all.
      texts: [R] all texts.
      rows: which of them, in this order.
      unsure: [R].
      guesses: head -> [R] its likeliest labels.
    """
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["text", "uncertainty", *(f"guess_{name}" for name in guesses)])
    for row in rows:
        table.writerow([texts[row], f"{unsure[row]:.4f}", *(labels[row] for labels in guesses.values())])
    files.write_text(path, out.getvalue())
