"""What a model has to beat: name -> builder, in the order in which the table prints them.

A builder takes (dataset, settings, queries, seed, text vectors of the items [N+2, D] or None), learns from training
events only and returns a scorer, or None where the baseline does not apply; the log says why, and its row is absent.
"""

from collections.abc import Callable, Mapping

import numpy as np

from tfrec_llm.config import Evaluate
from tfrec_llm.evaluation.baselines.ease import build_ease, build_ease_recency
from tfrec_llm.evaluation.baselines.item_knn import build_item_knn
from tfrec_llm.evaluation.baselines.matrix_factorisation import build_matrix_factorisation
from tfrec_llm.evaluation.baselines.own_frequent import build_own_frequent
from tfrec_llm.evaluation.baselines.popularity import build_popularity
from tfrec_llm.evaluation.baselines.random import build_random
from tfrec_llm.evaluation.baselines.text_knn import build_text_knn, build_text_knn_recency
from tfrec_llm.evaluation.protocol import Scorer
from tfrec_llm.types import Dataset, Queries

Builder = Callable[[Dataset, Evaluate, Queries, int, np.ndarray | None], Scorer | None]

BASELINES: Mapping[str, Builder] = {
    "random": build_random,
    "popularity": build_popularity,
    "item_knn": build_item_knn,
    "matrix_factorisation": build_matrix_factorisation,
    "ease": build_ease,
    "ease_recency": build_ease_recency,
    "own_frequent": build_own_frequent,
    "text_knn": build_text_knn,
    "text_knn_recency": build_text_knn_recency,
}

__all__ = ["BASELINES", "Builder"]
