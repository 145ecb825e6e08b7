"""What `evaluate` says of held-out items (`data.held_out_items`): ranked among themselves, and in everybody's lists."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfrec_llm import evaluation
from tfrec_llm.config import Config
from tfrec_llm.evaluation.protocol import Scorer
from tfrec_llm.serving import questions
from tfrec_llm.serving.signals import SignalPath
from tfrec_llm.types import Dataset, History, Queries

Scores = Callable[[History, tf.Tensor], tf.Tensor]  # [B, T] each, time of asking [B] -> [B, N+2]


def entries(
    config: Config, dataset: Dataset, models: Mapping[str, Scores], text: np.ndarray | None, tops: Mapping
) -> dict[str, evaluation.Entry]:
    """Figures of cold start; none where no items are held out.

    Args:
      config: `evaluate` picks the split, `export.max_history` is T.
      dataset: what `prepare` left.
      models: row -> scores of all items.
      text: [N+2, D] text vectors of the items, or None.
      tops: row -> [R, recall_at] ranked items of the split's other queries; those of models and system are counted.

    Returns:
      `cold.<row>.<metric>` for models and baselines, `cold.share@100` of the system's lists, `cold.<row>.share@100` of
      the models'.
    """
    if dataset.split.cold is None:
        return {}
    settings, queries = config.evaluate, getattr(dataset.split.cold, config.evaluate.split)
    rows = {name: _scorer(score, dataset, queries, config.export.max_history) for name, score in models.items()}
    for name in evaluation.COLD_BASELINES:
        scorer = evaluation.BASELINES[name](dataset, settings, queries, config.seed, text)
        rows |= {} if scorer is None else {name: scorer}
    lists = {name: top for name, top in tops.items() if name == "system" or name in models}
    found = evaluation.cold_figures(rows, dataset, queries, settings, config.seed)
    return found | evaluation.cold_shares(lists, dataset, settings, config.seed)


def scores(path: SignalPath) -> dict[str, Scores]:
    """The blend and the models of a run, asked by users who say nothing."""

    def blend(history: History, time: tf.Tensor) -> tf.Tensor:
        silence = tf.zeros([tf.shape(history.item)[0], path.text.dim])
        queries = path.queries(history, time, silence, tf.zeros_like(silence[:, 0], tf.bool))[1]
        return path.source.scores(queries, history)

    models = {"behaviour": (lambda *asked: path.behaviour.signals(*asked).query, path.behaviour)}
    return {"blend": blend, **scores_alone(models | {"retrieval": (path.towers.query, path.towers)})}


def scores_alone(models: Mapping[str, tuple[Callable[[History, tf.Tensor], tf.Tensor], Any]]) -> dict[str, Scores]:
    """Models that rank by their query times their item table.

    Args:
      models: row -> (its query of a history and the time of asking, the model with its `item_table`).
    """

    def of(query: Callable[[History, tf.Tensor], tf.Tensor], model: Any) -> Scores:
        table = model.item_table()
        return lambda *asked: tf.matmul(query(*asked), table, transpose_b=True)

    return {name: of(*pair) for name, pair in models.items()}


def _scorer(score: Scores, dataset: Dataset, queries: Queries, length: int) -> Scorer:
    graph = tf.function(score, reduce_retracing=True)
    return lambda rows: graph(*questions.history_tensors(dataset, queries, rows, length)).numpy()
