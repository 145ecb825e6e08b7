"""Another index than the exact one, on a finished run's towers: what it finds of what the exact one finds."""

import logging
import time
from typing import Any

import numpy as np

from tfrec_llm import evaluation, retrieval
from tfrec_llm.config import Component, Config
from tfrec_llm.serving import questions as asked
from tfrec_llm.types import Dataset, Queries

log = logging.getLogger(__name__)


def rank_by_index(
    config: Config, dataset: Dataset, towers: Any, queries: Queries
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The towers' candidates by `retrieval.index`, beside the exact ones.

    Args:
      config: `retrieval.index` names the index.
      dataset: what `prepare` left.
      towers: as of `retrieval.load`.
      queries: the questions of the split.

    Returns:
      Name -> [R, recall_at] item indices, best first, and the metrics.json entry of their recall of the exact ones;
      nothing for `exact`, which is what the towers are judged by anyway.
    """
    name, k = config.retrieval.index.name, config.evaluate.recall_at
    if name == "exact":
        return {}, {}
    table, rows = np.asarray(towers.item_table()), np.arange(len(queries.user))
    vectors = [
        towers.query(*asked.history_tensors(dataset, queries, part, config.export.max_history)).numpy()
        for part in asked.in_batches(len(rows), config.evaluate.batch_size, f"index {name}")
    ]
    vectors, exclude = np.concatenate(vectors), asked.seen_items(dataset, queries, rows)
    found, seconds = {}, {}
    for one in (config.retrieval.index, Component("exact")):
        index = retrieval.build_index(one, table)
        begin = time.perf_counter()
        found[one.name] = index.search(vectors, k, exclude)
        seconds[one.name] = time.perf_counter() - begin
    recall = retrieval.recall_of_exact(found[name], found["exact"])
    log.info(
        "index %s: recall of the exact top %d is %.4f; %.2f s against %.2f s", name, k, recall, seconds[name],
        seconds["exact"],
    )  # fmt: skip
    top = np.pad(found[name].item_ids, [(0, 0), (0, k - found[name].item_ids.shape[1])])
    entry = evaluation.entry(recall, len(rows), config.evaluate.split)
    return {f"retrieval.{name}": top}, {f"retrieval.{name}.recall_of_exact@{k}": entry}
