"""The crowd: does a policy that learns while it serves do better where tastes are no longer those of the log?

Simulated users of the judge, whose liking of every category is shifted by a drawn amount, come for whole sessions. The
recommender answers them with its exploration, decisions and events go through the event log, and the policy learns from
it as `make update` does: batches, gate, versions. Afterwards the first version and the last one are judged on the same
visitors, who taught neither of them.
"""

import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from pipelines import sessions
from tfrec_llm import evaluation, serving
from tfrec_llm.config import Config, ConfigError
from tfrec_llm.feedback import DecisionRow, EventRow, sqlite_url
from tfrec_llm.ranking.simulators import (
    Play,
    Sessions,
    fit_simulator,
    make_sessions,
    play,
    session_metrics,
    shifted,
    taking_event,
)
from tfrec_llm.ranking.simulators.played import BETWEEN, Asked, Decided, Policy, Step, steps
from tfrec_llm.serving import Recommender, update, versions
from tfrec_llm.types import FIRST_ITEM, Dataset

log = logging.getLogger(__name__)
TOGETHER = 64  # sessions that go on at the same time
START = 1_700_000_000  # seconds, of the first request
KEY = "0" * 64  # nobody's: the log keeps one user


class Crowd(NamedTuple):
    """Where sessions are played, and by whom they are answered."""

    config: Config
    dataset: Dataset
    recommender: Recommender
    updates: update.Updates
    world: Sessions


def judge_crowd(config: Config, run: Path, dataset: Dataset, scratch: Path) -> dict[str, dict]:
    """Reward per session of the version that learnt, against the one that was shipped, with and without the shift.

    Args:
      config: `simulate`, `learn`, `gate`, `evaluate` and `seed` are read.
      run: a finished run.
      dataset: what `prepare` left.
      scratch: a folder for copies.

    Returns:
      `ranking.crowd.gain|shift_<amount>` relative to the shipped version, `.reward`, `.shipped_reward`, `.versions`.

    Raises:
      ConfigError: nobody's sessions are judged.
    """
    if not config.simulate.session_users:
        raise ConfigError(
            "simulate.session_users: expected at least 1, whose sessions tell what the crowd taught, got 0; leave it."
        )
    tables, metrics = fit_simulator("judge", dataset, None, config.seed)
    for amount in (config.simulate.crowd_shift, 0.0):
        world = make_sessions(shifted(tables, dataset, amount, config.seed), dataset)
        place = _copy(run, scratch / f"shift_{amount:g}")
        settings = replace(config, serving=replace(config.serving, log=sqlite_url(place / "log.db")))
        recommender = serving.load_recommender(config, dataset, place, place)
        crowd = Crowd(settings, dataset, recommender, update.Updates(settings, place), world)
        before = _judge(crowd, f"shipped, shift {amount:g}")
        learnt = _let_learn(crowd, f"learns, shift {amount:g}")
        after = _judge(crowd, f"learnt, shift {amount:g}")
        found = _figures(crowd, before, after, learnt, f"|shift_{amount:g}")
        for key, figure in found.items():
            log.info("%s %.4f %s", key, figure["value"], figure["ci95"] or "")
        metrics |= found
    return metrics


def _copy(run: Path, place: Path) -> Path:
    """A run folder of its own, whose versions may change; everything else is the run's."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for part in run.iterdir():
        if part.name not in ("export", "log.db") and not part.name.startswith("log.db"):
            (place / part.name).symlink_to(part.resolve())
    served = versions.served_version(run / "export")
    shutil.copytree(run / "export" / str(served), place / "export" / str(served), copy_function=os.link)
    return place


def _let_learn(crowd: Crowd, label: str) -> int:
    """Plays the sessions and learns from each round; how many versions were shipped."""
    config, dataset = crowd.config, crowd.dataset
    rows = np.flatnonzero(dataset.split.half_b)
    visitors = sessions.make_visitors(dataset, dataset.split.validation, rows, config)
    generator, shipped = np.random.default_rng([config.seed, 12]), 0
    policy, event = logging_policy(crowd.recommender, config), taking_event(dataset)
    rounds = -(-config.simulate.crowd_sessions // TOGETHER)
    for number in tqdm(range(rounds), desc=label, unit="round", leave=False):
        chosen = generator.choice(len(rows), min(TOGETHER, len(rows)), replace=False)
        some = tf.nest.map_structure(lambda column, chosen=chosen: column[chosen], visitors)
        for place, step in enumerate(steps(crowd.world, policy, some, event, config.seed * 1000 + number)):
            when = START + (number * crowd.world.requests + place) * BETWEEN
            _keep(crowd, step, when, f"{number}-{place}", event)
        for learnt in _learn(crowd.updates):
            shipped += bool(learnt.version)
        _serve_stable(crowd)
    return shipped


def _learn(updates: update.Updates) -> Iterator[update.Learnt]:
    while (learnt := updates.step()) is not None:
        log.info("crowd: version %d after %d decisions: %s", learnt.version, learnt.decisions, learnt.reason)
        yield learnt


def _serve_stable(crowd: Crowd) -> None:
    """The recommender answers as the stable version does."""
    folder = crowd.updates.folder
    version = versions.served_version(folder)
    policy = serving.read_policy(folder / str(version))
    for variable, value in zip(crowd.recommender.agent.network.variables, policy.values(), strict=True):
        variable.assign(value)
    crowd.recommender.version.assign(version)


def logging_policy(recommender: Recommender, config: Config) -> Policy:
    """The recommender with its exploration, and all that a decision log keeps."""
    slots, logged = config.ranking.slate, config.serving.log_candidates

    @tf.function(reduce_retracing=True)
    def decide(asked: Asked) -> tuple[tf.Tensor, ...]:
        count = tf.shape(asked.time)[0]
        silent = tf.zeros([count, recommender.path.text.dim]), tf.zeros([count], tf.bool)
        answer = recommender.answer(asked.history, asked.time, *silent, asked.exclude, slots, asked.request_id)
        candidates = answer.signals.candidates
        offered = tf.where(candidates.allowed, candidates.item_ids, 0)
        kept = (answer.context, offered, candidates.features[:, :logged], answer.slate.propensities)
        return answer.slate.item_ids, candidates.item_ids[:, :slots], *kept

    def policy(asked: Asked) -> Decided:
        slate, first, *kept = decide(asked)
        return Decided(slate, first, tuple(part.numpy() for part in kept))

    return policy


def _keep(crowd: Crowd, step: Step, when: int, name: str, event: int) -> None:
    """Decisions and events of one request of each visitor -> the event log."""
    ids = np.array(["", "", *map(str, crowd.dataset.catalogue.item_ids[FIRST_ITEM:])])
    context, offered, features, chances = step.decided.situation
    slates, taken = step.decided.slate.numpy(), step.outcome.taken.numpy()
    kind, version = crowd.dataset.domain.events[event - FIRST_ITEM], str(int(crowd.recommender.version))
    decisions, events = [], []
    for row, visitor in enumerate(step.rows):
        own = f"{name}-{visitor}"
        decisions.append(
            DecisionRow(
                own, when, KEY, version, crowd.updates.fusion_version, (), list(ids[offered[row]]), features[row],
                context[row], list(ids[slates[row]]), chances[row],
            )
        )  # fmt: skip
        items = ids[taken[row][taken[row] > 0]]
        events += [EventRow(f"{own}-{item}", own, str(item), kind, 1.0, when + 1) for item in items]
    crowd.updates.log.add_decisions(decisions)
    crowd.updates.log.add_events(events)


def _judge(crowd: Crowd, label: str) -> Play:
    """Sessions of visitors who teach nobody, with the exploration that is served."""
    config, dataset = crowd.config, crowd.dataset
    queries = getattr(dataset.split, config.evaluate.split)
    visitors = sessions.make_visitors(dataset, queries, sessions.judged_rows(config, dataset), config)
    policy = sessions.served_policy(crowd.recommender, config.evaluate.k)
    size = config.evaluate.batch_size
    return play(crowd.world, policy, visitors, taking_event(dataset), config.seed, size, label)


def _figures(crowd: Crowd, before: Play, after: Play, learnt: int, suffix: str) -> dict[str, dict]:
    config = crowd.config
    about = (crowd.dataset.domain.objectives, config.evaluate.bootstrap, config.seed, config.evaluate.split)
    found = session_metrics({"1": (after, before)}, "learnt", *about)
    names = {"gain|drift_1": "gain", "learnt.reward": "reward", "blend.reward": "shipped_reward"}
    metrics = {f"ranking.crowd.{name}{suffix}": found[f"ranking.session.{key}"] for key, name in names.items()}
    return metrics | {f"ranking.crowd.versions{suffix}": evaluation.entry(learnt, 1, "train", over="seeds")}
