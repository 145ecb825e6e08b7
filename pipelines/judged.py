"""What `evaluate` judges: the stages alone, the system as it decides, its controls with utterances, the baselines."""

import logging
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines import stages
from tfrec_llm import data, evaluation, serving
from tfrec_llm.config import Config
from tfrec_llm.serving import Recommender
from tfrec_llm.serving import questions as asked
from tfrec_llm.types import Dataset, History, Queries

log = logging.getLogger(__name__)


def judge_run(config: Config, run: Path) -> None:
    """Finished stages -> figures in `<run>/metrics.json`.

    Args:
      config: the run's settings.
      run: the run folder.
    """
    dataset = stages.load_dataset(run)
    with tempfile.TemporaryDirectory() as scratch, evaluation.measure() as used:
        recommender = serving.load_recommender(config, dataset, run, Path(scratch))
        metrics = all_figures(config, dataset, recommender)
    metrics |= evaluation.usage_entries("evaluate", used)
    protocol = {**dataset.protocol, "seeds": [config.seed]}
    evaluation.merge_report(run / "metrics.json", metrics, protocol, evaluation.run_info(config.seed))


def all_figures(config: Config, dataset: Dataset, recommender: Recommender) -> dict[str, Any]:
    """Every figure of the protocol for one split.

    Args:
      config: the run's settings; `evaluate.split` picks the queries.
      dataset: what `prepare` left.
      recommender: the run's parts, put together.

    Returns:
      metrics.json key -> entry.
    """
    queries = getattr(dataset.split, config.evaluate.split)
    if not len(queries.user):
        raise ValueError(
            f"evaluate.split={config.evaluate.split}: expected at least one query, got none: "
            "every user has fewer events than data.min_user_count."
        )
    tops = rankings(config, dataset, recommender, queries)
    metrics = {}
    for name, top in tops.items():
        metrics |= evaluation.figures(name, top, dataset, queries, config.evaluate, config.seed)
    _log_comparisons(tops, queries, config)
    return metrics


def rankings(config: Config, dataset: Dataset, recommender: Recommender, queries: Queries) -> dict[str, np.ndarray]:
    """name -> [R, recall_at] item indices, best first."""
    length, path = config.evaluate.recall_at, recommender.path
    tops = {}
    for name, scorer in {
        "behaviour": _table_scorer(lambda h: path.behaviour.signals(h).query, path.behaviour, dataset, queries, config),
        "retrieval": _table_scorer(path.towers.query, path.towers, dataset, queries, config),
    }.items():
        tops[name] = evaluation.top_items(scorer, dataset, queries, length, config.evaluate.batch_size)
    tops |= _systems(config, dataset, recommender, queries)
    for name, builder in evaluation.BASELINES.items():
        scorer = builder(dataset, config.evaluate, queries, config.seed)
        if scorer is not None:
            log.info("baseline: %s", name)
            tops[f"baseline.{name}"] = evaluation.top_items(
                scorer, dataset, queries, length, config.evaluate.batch_size
            )
    return tops


def _table_scorer(
    query: Callable[[History], tf.Tensor], model: Any, dataset: Dataset, queries: Queries, config: Config
) -> Callable[[np.ndarray], np.ndarray]:
    """Scores of all items by one model alone: its query times its item table."""
    table = model.item_table()
    score = tf.function(lambda history: tf.matmul(query(history), table, transpose_b=True), reduce_retracing=True)
    return lambda rows: score(asked.history_tensors(dataset, queries, rows, config.export.max_history)[0]).numpy()


def _systems(config: Config, dataset: Dataset, recommender: Recommender, queries: Queries) -> dict[str, np.ndarray]:
    """The greedy system without utterances, with the users' own synthetic ones, and its two controls."""
    count = len(queries.user)
    texts = data.synthesise(dataset, asked.first_relevant(queries, np.arange(count)), "test", config.seed)
    said = asked.encode_utterances(recommender.path.text, texts, config)
    others = np.random.default_rng(config.seed).permutation(count)
    silent = np.zeros_like(said)
    return {
        "system": _slates(recommender, dataset, queries, silent, config, "system"),
        "system_with_utterance": _slates(recommender, dataset, queries, said, config, "with utterance"),
        "control.utterance_only": _slates(recommender, dataset, queries, said, config, "utterance only", history=False),
        "control.utterance_random": _slates(recommender, dataset, queries, said[others], config, "random utterance"),
    }


def _slates(
    recommender: Recommender,
    dataset: Dataset,
    queries: Queries,
    embedding: np.ndarray,
    config: Config,
    label: str,
    history: bool = True,
) -> np.ndarray:
    """[R, recall_at] what the system shows, greedy; embeddings of zero length count as silence."""
    slots = config.evaluate.recall_at
    answer = tf.function(recommender.answer, reduce_retracing=True)
    top = np.zeros((len(queries.user), slots), np.int32)
    for rows in asked.in_batches(len(queries.user), config.evaluate.batch_size, label):
        events, time = asked.history_tensors(dataset, queries, rows, config.export.max_history)
        # without history the user is a stranger, but what was seen stays excluded: the same question is asked
        exclude = tf.constant(asked.seen_items(dataset, queries, rows))
        shown = events if history else History(*(tf.zeros_like(part) for part in events))
        vectors = tf.constant(embedding[rows])
        spoken = tf.reduce_any(vectors != 0, axis=1)
        requests = tf.fill([len(rows)], "")
        slate = answer(shown, time, vectors, spoken, exclude, slots, requests).slate.item_ids.numpy()
        top[rows, : slate.shape[1]] = slate
    return top


def _log_comparisons(tops: Mapping[str, np.ndarray], queries: Queries, config: Config) -> None:
    """The system against every baseline, paired by user."""
    settings = config.evaluate
    name = f"ndcg@{settings.k}"
    values = {key: evaluation.judge(top, queries, settings.k, settings.recall_at)[name] for key, top in tops.items()}
    for key, other in values.items():
        if key.startswith("baseline.") or key == "behaviour":
            gap = evaluation.paired_bootstrap(values["system"], other, settings.bootstrap, config.seed)
            low, high = gap.ci95 or (float("nan"), float("nan"))
            log.info("system - %s: %+.4f %s (95 %% %+.4f to %+.4f)", key, gap.difference, name, low, high)
