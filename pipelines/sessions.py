"""Sessions with a run's own parts: visitors, what the agent sees of them, and its policy beside the blend's order."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfrec_llm import data, evaluation, serving
from tfrec_llm.config import Config
from tfrec_llm.metrics import ndcg
from tfrec_llm.ranking.practice import Observe, Practice
from tfrec_llm.ranking.simulators import Play, Visitors, fit_simulator, make_sessions, play, session_metrics
from tfrec_llm.ranking.simulators.played import Asked, Decided, Policy, taking_event
from tfrec_llm.ranking.simulators.responses import LEAST_EVENTS
from tfrec_llm.serving import Recommender, questions
from tfrec_llm.types import Candidates, Dataset, Queries

log = logging.getLogger(__name__)
FACTORS = ("0", "1", "2")  # times the domain's drift, boredom and leaving


def make_visitors(dataset: Dataset, queries: Queries, rows: np.ndarray, config: Config) -> Visitors:
    """The users of some queries, as they come."""
    history = data.histories(dataset.interactions, queries, rows, config.export.max_history)  # with room to grow
    exclude = questions.seen_items(dataset, queries, rows)
    return Visitors(queries.user[rows], history, queries.time[rows].astype(np.int64), exclude)


def make_practice(config: Config, dataset: Dataset, run: Path, fusion: Any) -> tuple[Practice | None, dict[str, dict]]:
    """What the ranking stage practises with: the trainer, and half B's users but the stopping tenth.

    Args:
      config: the run's settings.
      dataset: what `prepare` left.
      run: the run folder; everything but the ranking is finished.
      fusion: modalities -> context.

    Returns:
      The practice, and the trainer's figures; None and no figures where the config or the data allow none.
    """
    rows = np.flatnonzero(dataset.split.half_b & ~dataset.split.stop_b)
    if not config.ranking.simulate_sessions or not len(rows) or dataset.split.train.sum() < 10 * LEAST_EVENTS:
        log.info("ranking: the agent practises with no simulated users")
        return None, {}
    path = serving.load_signal_path(config, dataset, run)
    tables, metrics = fit_simulator("trainer", dataset, path.text.item_vectors.text, config.seed)
    visitors = make_visitors(dataset, dataset.split.validation, rows, config)
    sessions = make_sessions(tables, dataset)
    return Practice(sessions, visitors, observer(path, fusion, config), taking_event(dataset)), metrics


def observer(path: Any, fusion: Any, config: Config) -> Observe:
    """What an agent sees of requests in which nothing is said."""

    def observe(asked: Asked) -> tuple[tf.Tensor, Candidates]:
        count = tf.shape(asked.time)[0]
        silent = tf.zeros([count, path.text.dim]), tf.zeros([count], tf.bool)
        signals = path(asked.history, asked.time, *silent, asked.exclude, config.retrieval.candidates)
        return fusion(signals.modalities), signals.candidates

    return observe


def served_policy(recommender: Recommender, slots: int, greedy: bool = False) -> Policy:
    """The recommender as it is exported; with its exploration unless `greedy`."""

    @tf.function(reduce_retracing=True)
    def decide(asked: Asked) -> tuple[tf.Tensor, tf.Tensor]:
        count = tf.shape(asked.time)[0]
        silent = tf.zeros([count, recommender.path.text.dim]), tf.zeros([count], tf.bool)
        ids = tf.fill([count], "") if greedy else asked.request_id
        answer = recommender.answer(asked.history, asked.time, *silent, asked.exclude, slots, ids)
        return answer.slate.item_ids, answer.signals.candidates.item_ids[:, :slots]

    return lambda asked: Decided(*decide(asked))


def blend_policy(recommender: Recommender, slots: int) -> Policy:
    """The blend's order."""

    @tf.function(reduce_retracing=True)
    def decide(asked: Asked) -> tf.Tensor:
        count = tf.shape(asked.time)[0]
        silent = tf.zeros([count, recommender.path.text.dim]), tf.zeros([count], tf.bool)
        wanted = recommender.settings.retrieval.candidates
        signals = recommender.path(asked.history, asked.time, *silent, asked.exclude, wanted)
        return signals.candidates.item_ids[:, :slots]

    def policy(asked: Asked) -> Decided:
        slate = decide(asked)
        return Decided(slate, slate)

    return policy


def judge_sessions(config: Config, dataset: Dataset, recommender: Recommender) -> dict[str, dict]:
    """Sessions of the served policy in the judge, against the blend's order.

    Args:
      config: `simulate`, `evaluate` and `seed` are read.
      dataset: what `prepare` left.
      recommender: a finished run's parts.

    Returns:
      Metric key -> entry; see `ranking.simulators.session_metrics`.
    """
    tables, metrics = fit_simulator("judge", dataset, None, config.seed)
    rows, slots = judged_rows(config, dataset), config.evaluate.k
    queries = getattr(dataset.split, config.evaluate.split)
    visitors = make_visitors(dataset, queries, rows, config)
    policies = {
        "ours": served_policy(recommender, slots),
        "greedy": served_policy(recommender, slots, greedy=True),
        "blend": blend_policy(recommender, slots),
    }
    event, size = taking_event(dataset), config.evaluate.batch_size
    plays: dict[str, Mapping[str, Play]] = {}
    for factor in FACTORS:
        sessions = make_sessions(tables, dataset, float(factor))
        plays[factor] = {
            name: play(sessions, policy, visitors, event, config.seed, size, f"{name}, habits x {factor}")
            for name, policy in policies.items()
            if name != "greedy" or factor == "1"
        }
    return metrics | _figures(config, dataset, plays, questions.answers(queries, rows))


def judged_rows(config: Config, dataset: Dataset) -> np.ndarray:
    """Queries of `evaluate.split` of users whom the ranking stage never saw, `simulate.session_users` at most."""
    split = dataset.split
    queries = getattr(split, config.evaluate.split)
    rows = np.flatnonzero(~np.isin(queries.user, split.validation.user[split.half_b]))
    if not len(rows):
        raise ValueError("sessions: expected users outside half B, got none: there are too few users to judge with.")
    return np.sort(np.random.default_rng([config.seed, 10]).permutation(rows)[: config.simulate.session_users])


def _figures(
    config: Config, dataset: Dataset, plays: Mapping[str, Mapping[str, Play]], right: np.ndarray
) -> dict[str, dict]:
    """Rewards and gains; and how well first slates answer what really came next, which exploration costs."""
    name, split, k = config.ranking.agent.name, config.evaluate.split, config.evaluate.k
    about = (dataset.domain.objectives, config.evaluate.bootstrap, config.seed, split)
    pairs = {factor: (played["ours"], played["blend"]) for factor, played in plays.items()}
    found = session_metrics({"1": (plays["1"]["greedy"], plays["1"]["blend"])}, "greedy", *about)
    metrics = {key: value for key, value in found.items() if key.startswith("ranking.session.greedy.")}
    metrics |= session_metrics(pairs, name, *about)
    answered = right > 0
    relevant, offsets = right[answered], np.r_[0, np.cumsum(answered.sum(axis=1))]
    for who, played in plays["1"].items():
        figure = evaluation.summarise(ndcg(played.first, relevant, offsets, k), config.evaluate.bootstrap, config.seed)
        key = f"ranking.session.{name if who == 'ours' else who}.ndcg@{k}"
        metrics[key] = evaluation.entry(figure.value, figure.n, split, figure.ci95)
    return metrics


def judge_run_sessions(config: Config, run: Path, dataset: Dataset, scratch: Path) -> dict[str, dict]:
    """The same of a finished run's folder."""
    return judge_sessions(config, dataset, serving.load_recommender(config, dataset, run, scratch))
