"""Fits a simulator on a dataset's training events and says how good it is."""

import logging

import numpy as np

from tfrec_llm.ranking.objectives import item_tables
from tfrec_llm.ranking.simulators.judge import fit_judge
from tfrec_llm.ranking.simulators.responses import divide, observed_responses
from tfrec_llm.ranking.simulators.tables import ResponseTables, quality
from tfrec_llm.ranking.simulators.trainer import fit_trainer
from tfrec_llm.ranking.simulators.world import Sessions
from tfrec_llm.types import Dataset

_log = logging.getLogger(__name__)
NAMES = ("trainer", "judge")


def fit_simulator(
    name: str, dataset: Dataset, text: np.ndarray | None, seed: int
) -> tuple[ResponseTables, dict[str, dict]]:
    """The trainer or the judge.

    Args:
      name: "trainer" or "judge".
      dataset: only its training events are read.
      text: [N+2, D] text vectors, or None; the trainer's.
      seed: of everything.

    Returns:
      The fitted tables; `ranking.simulator.<name>.auc` and `.ece` on held-out training events.

    Raises:
      ValueError: no such simulator, or too few events.
    """
    if name not in NAMES:
        raise ValueError(f"simulator: expected one of {', '.join(NAMES)}, got {name!r}.")
    parts = divide(observed_responses(dataset, seed))
    users, rows = len(dataset.interactions.user_ids), len(dataset.catalogue.item_ids)
    if name == "judge":
        tables = fit_judge(parts, users, rows, seed)
    else:
        tables = fit_trainer(parts, dataset.catalogue, text, users, seed)
    metrics = quality(tables, parts.held_out, name)
    for key, figure in metrics.items():
        _log.info("%s %.4f on %d held-out training responses", key, figure["value"], figure["n"])
    return tables, metrics


def shifted(tables: ResponseTables, dataset: Dataset, amount: float, seed: int) -> ResponseTables:
    """Tables of users whose tastes have moved: each category is liked more or less, by a normal draw.

    Args:
      tables: of a fitted simulator.
      dataset: its categories; without any, nothing moves.
      amount: standard deviation of a category's shift, in log-odds.
      seed: of the draws.
    """
    categories = item_tables(dataset).categories.numpy()  # [N+2, G], rows sum to one or are zero
    moves = np.random.default_rng([seed, 11]).normal(0, amount, categories.shape[1])
    return tables._replace(item_bias=(tables.item_bias + categories @ moves).astype(np.float32))


def make_sessions(tables: ResponseTables, dataset: Dataset, factor: float = 1.0) -> Sessions:
    """A world of sessions over fitted tables."""
    return Sessions(tables, item_tables(dataset), dataset.domain, factor)
