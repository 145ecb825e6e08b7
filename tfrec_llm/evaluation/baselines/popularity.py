"""Baseline: what everybody takes."""

import numpy as np

from tfrec_llm.config import Evaluate
from tfrec_llm.data.incidence import training_counts
from tfrec_llm.evaluation.protocol import Scorer
from tfrec_llm.types import Dataset, Queries


def build_popularity(
    dataset: Dataset, settings: Evaluate, queries: Queries, seed: int, text: np.ndarray | None = None
) -> Scorer:
    """The number of training events of each item, the same for every query."""
    counts = training_counts(dataset).astype(np.float32)
    return lambda rows: np.broadcast_to(counts, (len(rows), len(counts)))
