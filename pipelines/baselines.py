"""The baselines of a run, ranked and timed; a protocol is judged in minutes by them alone."""

import logging

import numpy as np

from tfrec_llm import evaluation
from tfrec_llm.config import Config
from tfrec_llm.types import Dataset, Queries

log = logging.getLogger(__name__)


def rank_baselines(
    config: Config, dataset: Dataset, queries: Queries, text: np.ndarray | None
) -> tuple[dict[str, np.ndarray], dict[str, evaluation.Entry]]:
    """Every baseline that applies.

    Args:
      config: the run's settings.
      dataset: what `prepare` left.
      queries: R of them.
      text: [N+2, D] text vectors of the items, None where the text stage has not run.

    Returns:
      "baseline.<name>" -> [R, recall_at] item indices, best first; and what each took, learning and ranking together.
    """
    settings, tops, costs = config.evaluate, {}, {}
    for name, builder in evaluation.BASELINES.items():
        with evaluation.measure() as used:
            scorer = builder(dataset, settings, queries, config.seed, text)
            if scorer is None:
                continue
            log.info("baseline: %s", name)
            top = evaluation.top_items(scorer, dataset, queries, settings.recall_at, settings.batch_size)
        tops[f"baseline.{name}"] = top
        costs[f"seconds.baseline.{name}"] = evaluation.entry(used.seconds, 1, settings.split, over="seeds")
    return tops, costs
