"""What `evaluate` judges: the stages alone, the system as it decides, its controls with utterances, the baselines."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from pipelines import alone, cold, exported, indexes, refit, stages
from pipelines.baselines import rank_baselines
from tfrec_llm import behaviour, data, evaluation, retrieval, serving, text
from tfrec_llm.config import Config
from tfrec_llm.evaluation.gains import BLEND, REFIT, SYSTEM, WITHOUT_ATTRIBUTES, WITHOUT_TIME
from tfrec_llm.serving import Recommender
from tfrec_llm.serving import questions as asked
from tfrec_llm.types import Dataset, History, Queries


def judge_run(config: Config, run: Path) -> None:
    """Finished stages -> figures in `<run>/metrics.json`.

    Args:
      config: the run's settings.
      run: the run folder.
    """
    dataset = stages.load_dataset(run)
    with tempfile.TemporaryDirectory() as scratch, evaluation.measure() as used:
        recommender = serving.load_recommender(config, dataset, run, Path(scratch))
        facts = evaluation.item_facts(dataset, recommender.path.text.item_vectors.text)
        metrics = all_figures(config, dataset, recommender, facts, run)
    _keep(config, dataset, run, metrics | evaluation.usage_entries("evaluate", used), facts)


def judge_baselines(config: Config, run: Path) -> None:
    """Prepared data, nothing trained -> figures of the baselines in `<run>/metrics.json`.

    Args:
      config: the run's settings.
      run: the run folder; text vectors are used where the text stage is finished.
    """
    dataset = stages.load_dataset(run)
    vectors = text.load_item_vectors(run / "text").text if (run / "text").is_dir() else None
    facts, queries = evaluation.item_facts(dataset, vectors), _asked(config, dataset)
    tops, metrics = rank_baselines(config, dataset, queries, facts.text)
    _keep(config, dataset, run, metrics | _figures(config, dataset, queries, tops, facts), facts)


def judge_models(config: Config, run: Path, upto: str) -> None:
    """A run that stops before the system -> figures of its models alone in `<run>/metrics.json`.

    Args:
      config: the run's settings.
      run: the run folder.
      upto: "behaviour", or "retrieval" for both models.
    """
    dataset, items = stages.load_dataset(run), text.load_item_vectors(run / "text")
    facts, queries = evaluation.item_facts(dataset, items.text), _asked(config, dataset)
    models = {"behaviour": alone.by_signals(behaviour.load(config, dataset, items, run / "behaviour"))}
    if upto == "retrieval":
        towers = retrieval.load(config, dataset, items, run / "retrieval" / "towers")
        models["retrieval"] = (towers.query, towers)
    tops = alone.rank_models(config, dataset, queries, models)
    metrics = cold.entries(config, dataset, cold.scores_alone(models), facts.text, tops)
    tops |= alone.rank_rivals(config, run, dataset, queries)
    _keep(config, dataset, run, metrics | _figures(config, dataset, queries, tops, facts), facts)


def all_figures(
    config: Config, dataset: Dataset, recommender: Recommender, facts: evaluation.ItemFacts, run: Path
) -> dict[str, Any]:
    """Every figure of the protocol for one split.

    Args:
      config: the run's settings; `evaluate.split` picks the queries.
      dataset: what `prepare` left.
      recommender: the run's parts, put together.
      facts: what the metrics of lists and `text_knn` ask about items.
      run: the run folder, where rivals are trained.

    Returns:
      metrics.json key -> entry.
    """
    queries = _asked(config, dataset)
    if refit.is_asked(config):
        refit.check(config, run)
    exported.check(config, run)
    tops = rankings(config, dataset, recommender, queries) | alone.rank_rivals(config, run, dataset, queries)
    if refit.is_asked(config):
        silent = np.zeros([len(queries.user), recommender.path.text.dim], np.float32)
        _, tops[REFIT] = _slates(_put(config, dataset, refit.load_refit(config, run), queries), silent, REFIT)
    if exported.is_asked(config):
        tops[exported.ROW] = exported.rank_export(config, run, dataset, queries, recommender.path)
    baselines, metrics = rank_baselines(config, dataset, queries, facts.text)
    metrics |= cold.entries(config, dataset, cold.scores(recommender.path), facts.text, tops)
    metrics |= _by_group(config, dataset, recommender, queries, tops)
    approximate, recall = indexes.rank_by_index(config, dataset, recommender.path.towers, queries)
    return metrics | recall | _figures(config, dataset, queries, tops | approximate | baselines, facts)


def _by_group(
    config: Config, dataset: Dataset, recommender: Recommender, queries: Queries, tops: dict[str, np.ndarray]
) -> dict[str, Any]:
    """How well each group of users is served, with their attributes known and not; nothing where no model sees them."""
    found = {}
    for name in (SYSTEM, WITHOUT_ATTRIBUTES) if recommender.path.users else ():
        people, names = recommender.path.people, dataset.domain.attributes
        found |= evaluation.group_figures(name, tops[name], queries, people, names, config.evaluate, config.seed)
    return found


def _asked(config: Config, dataset: Dataset) -> Queries:
    queries = getattr(dataset.split, config.evaluate.split)
    if not len(queries.user):
        raise ValueError(
            f"evaluate.split={config.evaluate.split}: expected at least one query, got none: "
            "every user has fewer events than data.min_user_count."
        )
    return queries


def _figures(
    config: Config, dataset: Dataset, queries: Queries, tops: dict[str, np.ndarray], facts: evaluation.ItemFacts
) -> dict[str, Any]:
    """Every metric of every row, and what the system gains over the others."""
    metrics = evaluation.gains(tops, queries, config.evaluate, config.seed)
    for name, top in tops.items():
        metrics |= evaluation.figures(name, top, dataset, queries, config.evaluate, config.seed, facts)
    return metrics


def _keep(config: Config, dataset: Dataset, run: Path, metrics: dict[str, Any], facts: evaluation.ItemFacts) -> None:
    protocol = {**dataset.protocol, "seeds": [config.seed]}
    about = evaluation.run_info(config.seed) | {"diversity_by": facts.diversity_by}
    evaluation.merge_report(run / "metrics.json", metrics, protocol, about)


def rankings(config: Config, dataset: Dataset, recommender: Recommender, queries: Queries) -> dict[str, np.ndarray]:
    """name -> [R, recall_at] item indices, best first, of the stages and the system."""
    path = recommender.path
    models = {"behaviour": alone.by_signals(path.behaviour), "retrieval": (path.towers.query, path.towers)}
    models["behaviour_without_time"] = alone.by_signals(path.behaviour, timed=False)
    tops = alone.rank_models(config, dataset, queries, models)
    return tops | _systems(config, dataset, recommender, queries)


def _systems(config: Config, dataset: Dataset, recommender: Recommender, queries: Queries) -> dict[str, np.ndarray]:
    """The greedy system in silence, beside the blend's order; with users' own synthetic utterances; two controls."""
    count = len(queries.user)
    texts = data.synthesise(dataset, asked.first_relevant(queries, np.arange(count)), "test", config.seed)
    said = asked.encode_utterances(recommender.path.text, texts, config)
    others = np.random.default_rng(config.seed).permutation(count)
    silent = np.zeros_like(said)
    unnamed, put = {}, _put(config, dataset, recommender, queries)
    if recommender.path.users is not None:
        unnamed[WITHOUT_ATTRIBUTES], _ = _slates(put, silent, "without attributes", attributes=False)
    system, blend = _slates(put, silent, SYSTEM)
    timeless, _ = _slates(put, silent, "without time", timed=False)
    heard, _ = _slates(put, said, "with utterance")
    strange, _ = _slates(put, said, "utterance only", history=False)
    swapped, _ = _slates(put, said[others], "random utterance")
    controls = {"control.utterance_only": strange, "control.utterance_random": swapped}
    return unnamed | {SYSTEM: system, BLEND: blend, WITHOUT_TIME: timeless, "system_with_utterance": heard} | controls


class _Put(NamedTuple):
    """The questions of one evaluation, and whom they are put to."""

    config: Config
    dataset: Dataset
    recommender: Recommender
    queries: Queries
    answer: Callable  # the recommender's, traced once however often it is asked


def _put(config: Config, dataset: Dataset, recommender: Recommender, queries: Queries) -> _Put:
    return _Put(config, dataset, recommender, queries, tf.function(recommender.answer, reduce_retracing=True))


def _slates(
    put: _Put, embedding: np.ndarray, label: str, history: bool = True, attributes: bool = True, timed: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """[R, recall_at] each: what the system shows, greedy, and the blend's order of the candidates that it chose from.

    Embeddings of zero length count as silence.
    """
    config, dataset, recommender, queries, answer = put
    slots = config.evaluate.recall_at
    top, blend = np.zeros((2, len(queries.user), slots), np.int32)
    for rows in asked.in_batches(len(queries.user), config.evaluate.batch_size, label):
        events, time = asked.history_tensors(dataset, queries, rows, config.export.max_history)
        # without history the user is a stranger, but what was seen stays excluded: the same question is asked
        exclude = tf.constant(asked.seen_items(dataset, queries, rows))
        shown = events if history else History(*(tf.zeros_like(part) for part in events))
        vectors = tf.constant(embedding[rows])
        spoken = tf.reduce_any(vectors != 0, axis=1)
        requests = tf.fill([len(rows)], "")
        people = asked.user_attributes(recommender.path, queries, rows) if attributes and history else None
        time = time if timed else tf.zeros_like(time)
        found = answer(shown, time, vectors, spoken, exclude, slots, requests, None, people)
        slate, candidates = found.slate.item_ids.numpy(), found.signals.candidates
        ordered = tf.where(candidates.allowed, candidates.item_ids, 0)[:, :slots].numpy()
        top[rows, : slate.shape[1]], blend[rows, : ordered.shape[1]] = slate, ordered
    return top, blend
