"""Baseline: every order of the items is equally likely."""

import numpy as np

from tfrec_llm.config import Evaluate
from tfrec_llm.evaluation.protocol import Scorer
from tfrec_llm.types import Dataset, Queries


def build_random(
    dataset: Dataset, settings: Evaluate, queries: Queries, seed: int, text: np.ndarray | None = None
) -> Scorer:
    """Uniform scores; a query draws from the seed, its user and its place, whatever the batch."""
    num_rows = len(dataset.catalogue.item_ids)

    def score(rows: np.ndarray) -> np.ndarray:
        keys = zip(queries.user[rows], queries.end[rows], strict=True)
        return np.stack([np.random.default_rng([seed, *key]).random(num_rows, np.float32) for key in keys])

    return score
