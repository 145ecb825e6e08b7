"""Baseline: users and items in few dimensions.

PureSVD, by scikit-learn. Alternating least squares (Hu, Koren and Volinsky, 2008; `implicit` 0.7.3, on either data the
best of thirteen settings) ranked alike on the validation queries of films and baskets: NDCG@10 .047 and .094, PureSVD
.049 and .093. PureSVD has one setting instead of four and needs no package that the project would not have anyway.
"""

import numpy as np
from sklearn.utils.extmath import randomized_svd

from tfrec_llm.config import Evaluate
from tfrec_llm.data.incidence import history_matrix, training_matrix
from tfrec_llm.evaluation.protocol import Scorer
from tfrec_llm.types import Dataset, Queries

PASSES = 4  # of the randomised solver
FEWEST = 2


def build_matrix_factorisation(
    dataset: Dataset, settings: Evaluate, queries: Queries, seed: int, text: np.ndarray | None = None
) -> Scorer:
    """PureSVD (Cremonesi, Koren and Turrin, 2010): what the user has, projected on the matrix's main directions.

    A user is the product of the history and the item factors, so that what came after training counts and nobody is
    unknown. There are at most a quarter as many factors as users or items: with as many, the history itself comes back.
    """
    owned = training_matrix(dataset)
    factors = min(settings.mf_factors, max(FEWEST, min(owned.shape) // 4))
    _, _, items = randomized_svd(owned, factors, n_iter=PASSES, random_state=seed)  # [F, N+2]
    return lambda rows: (history_matrix(dataset, queries, rows) @ items.T) @ items
