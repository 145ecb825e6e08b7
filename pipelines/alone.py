"""Models that rank alone, by their query times their item table: stages before the system, rivals beside it."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines import stages
from tfrec_llm import behaviour, evaluation, text
from tfrec_llm.config import Component, Config
from tfrec_llm.serving import questions as asked
from tfrec_llm.types import Dataset, History, Queries

Query = Callable[[History, tf.Tensor], tf.Tensor]  # [B, T] each, time of asking [B] -> [B, Q]


def rank_models(
    config: Config, dataset: Dataset, queries: Queries, models: Mapping[str, tuple[Query, Any]]
) -> dict[str, np.ndarray]:
    """Every model's own ranking of all items.

    Args:
      config: `evaluate` and `export.max_history` are read.
      dataset: what `prepare` left.
      queries: R of them.
      models: name -> (its query of a history and the time of asking, the model with its `item_table`).

    Returns:
      name -> [R, recall_at] item indices, best first.
    """
    settings = config.evaluate
    tops = {}
    for name, (query, model) in models.items():
        scorer = _scorer(query, model, dataset, queries, config)
        tops[name] = evaluation.top_items(scorer, dataset, queries, settings.recall_at, settings.batch_size)
    return tops


def rank_rivals(config: Config, run: Path, dataset: Dataset, queries: Queries) -> dict[str, np.ndarray]:
    """Trains the behaviour models of `evaluate.rivals`, where that is not done yet, and ranks by each.

    Each lies in `<run>/rivals/<name>`, goes on after a kill, and is trained as the served one is: same data, item
    vectors, `behaviour` and `train` settings, its own widths and dropouts.

    Args:
      config: the run's settings.
      run: the run folder; data and text are finished.
      dataset: what `prepare` left.
      queries: R of them.

    Returns:
      "baseline.<name>" -> [R, recall_at] item indices, best first.
    """
    models = {}
    for rival in config.evaluate.rivals:
        own = with_model(config, rival)
        folder = stages.train_rival(own, run)
        model = behaviour.load(own, dataset, text.load_item_vectors(run / "text"), folder)
        models[f"baseline.{rival.name}"] = by_signals(model)
    return rank_models(config, dataset, queries, models)


def with_model(config: Config, model: Component) -> Config:
    """The same run with another behaviour model, which stands alone."""
    return dataclasses.replace(config, behaviour=dataclasses.replace(config.behaviour, model=model, ensemble=()))


def by_signals(model: Any, timed: bool = True) -> tuple[Query, Any]:
    """A behaviour model with the query that it gives, knowing when it is asked or not."""
    return (lambda history, time: model.signals(history, time if timed else None).query), model


def _scorer(
    query: Query, model: Any, dataset: Dataset, queries: Queries, config: Config
) -> Callable[[np.ndarray], np.ndarray]:
    """Scores of all items by one model alone."""
    table = model.item_table()
    score = tf.function(lambda *asked: tf.matmul(query(*asked), table, transpose_b=True), reduce_retracing=True)
    return lambda rows: score(*asked.history_tensors(dataset, queries, rows, config.export.max_history)).numpy()
