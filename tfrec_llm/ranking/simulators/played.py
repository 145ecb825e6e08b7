"""Plays sessions: a policy decides, users respond, and their histories grow by what they took."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfrec_llm.evaluation import entry
from tfrec_llm.evaluation.intervals import interval, resampled_means
from tfrec_llm.ranking.objectives import Parts, shares
from tfrec_llm.ranking.simulators.world import Outcome, Sessions
from tfrec_llm.types import FIRST_ITEM, PADDING, Dataset, History, Objectives

BETWEEN = 1800  # seconds from one request to the next


class Visitors(NamedTuple):
    """Users at the first request of their sessions."""

    user: np.ndarray  # [B] int32
    history: History  # [B, T] numpy
    time: np.ndarray  # [B] int64 seconds
    exclude: np.ndarray  # [B, X] item indices that must not be shown, 0 where unused


class Asked(NamedTuple):
    """Requests, as policies get them."""

    history: History  # [B, T]
    time: tf.Tensor  # [B] int64
    exclude: tf.Tensor  # [B, X]
    request_id: tf.Tensor  # [B] string


class Decided(NamedTuple):
    """What a policy shows."""

    slate: tf.Tensor  # [B, n] item indices
    first: tf.Tensor  # [B, n] the blend's first candidates in the same situation
    situation: tuple = ()  # whatever a learner wants back


Policy = Callable[[Asked], Decided]


class Step(NamedTuple):
    """One request of the visitors who are still there."""

    decided: Decided
    outcome: Outcome
    rows: np.ndarray  # [B] which visitors they are


class Play(NamedTuple):
    """Sessions, one row for each visitor."""

    reward: np.ndarray  # [U] sum over the session
    requests: np.ndarray  # [U]
    changed: np.ndarray  # [U] requests whose slate was not the blend's
    parts: Parts  # [U] each, sums over the session
    first: np.ndarray  # [U, n] item indices of the first slates


def steps(sessions: Sessions, policy: Policy, visitors: Visitors, event: int, seed: int) -> Iterator[Step]:
    """Plays sessions request by request; equal seeds give users equal luck whatever they are shown.

    Args:
      sessions: the world.
      policy: who decides.
      visitors: who comes.
      event: index of the event that histories get for an item taken.
      seed: of looks, responses, leaving and request ids.

    Yields:
      One step for each request.
    """
    generator, count = np.random.default_rng([seed, 8]), len(visitors.user)
    state, rows = sessions.begin(tf.constant(visitors.user)), np.arange(count)
    history, exclude = History(*map(tf.constant, visitors.history)), tf.constant(visitors.exclude)
    for number in range(sessions.requests):
        time = tf.constant(visitors.time[rows] + number * BETWEEN, tf.int64)
        ids = tf.constant([f"{seed}-{number}-{user}" for user in visitors.user[rows]])
        decided = policy(Asked(history, time, exclude, ids))
        draws = generator.random((count, 2 * decided.slate.shape[1]), dtype=np.float32)
        outcome = sessions.in_graph(state, decided.slate, tf.constant(draws[rows]))
        yield Step(decided, outcome, rows)
        here = np.flatnonzero(outcome.state.stays.numpy() > 0)
        if not len(here):
            return
        grown = grow(history, outcome.taken, event, time)
        parts = (rows, outcome.state, grown, exclude)
        rows, state, history, exclude = tf.nest.map_structure(lambda column, here=here: tf.gather(column, here), parts)
        rows = rows.numpy()


@tf.function(reduce_retracing=True)
def grow(history: History, taken: tf.Tensor, event: tf.Tensor, time: tf.Tensor) -> History:
    """Histories [B, T] with the items taken [B, n] (0 = none) at their end; the newest T are kept."""
    width = tf.shape(history.item)[1]
    new = taken != PADDING
    added = History(
        taken,
        tf.where(new, tf.cast(event, history.event.dtype), 0),
        tf.where(new, tf.cast(time, history.time.dtype)[:, None], 0),
    )
    joined = History(*(tf.concat([old, tf.cast(more, old.dtype)], 1) for old, more in zip(history, added, strict=True)))
    order = tf.argsort(tf.cast(joined.item == PADDING, tf.int32), axis=1, stable=True)
    length = tf.reduce_sum(tf.cast(joined.item != PADDING, tf.int32), axis=1, keepdims=True)
    order = tf.gather(order, tf.maximum(length - width, 0) + tf.range(width), batch_dims=1)
    return History(*(tf.gather(column, order, batch_dims=1) for column in joined))


def play(
    sessions: Sessions, policy: Policy, visitors: Visitors, event: int, seed: int, batch_size: int, label: str
) -> Play:
    """Whole sessions of all visitors; arguments as of `steps`, `batch_size` visitors at a time."""
    plays = []
    with tqdm(total=len(visitors.user), desc=label, unit="session", leave=False) as bar:
        for first in range(0, len(visitors.user), batch_size):
            some = tf.nest.map_structure(lambda column, at=first: column[at : at + batch_size], visitors)
            plays.append(_sum(steps(sessions, policy, some, event, seed), len(some.user)))
            bar.update(len(some.user))
    return tf.nest.map_structure(lambda *columns: np.concatenate(columns), *plays)


def session_metrics(
    plays: Mapping[str, tuple[Play, Play]], who: str, objectives: Objectives, bootstrap: int, seed: int, split: str
) -> dict[str, dict]:
    """Figures of a policy against the blend's order, paired by visitor.

    Args:
      plays: factor of the habits, e.g. "1" -> the policy's sessions and the blend's with the same visitors and luck.
      who: what the keys call the policy.
      objectives: weights, for the shares of the reward.
      bootstrap: resamples of the visitors.
      seed: of the resamples.
      split: what the visitors are of.

    Returns:
      `ranking.session.<who>.reward|drift_<factor>` and the blend's, `ranking.session.gain|drift_<factor>` relative to
      the blend's mean, `ranking.session.changed_share|...`; those of factor 1 without the suffix too, but for the gain.
    """
    found = {}
    for factor, (ours, blend) in plays.items():
        count, suffix = len(ours.reward), f"|drift_{factor}"
        rewards = np.stack([ours.reward, blend.reward], axis=1)
        means = resampled_means(rewards, bootstrap, seed)  # [bootstrap, 2]
        ratio = means[:, 0] / np.maximum(means[:, 1], 1e-9) - 1
        value = rewards[:, 0].mean() / max(float(rewards[:, 1].mean()), 1e-9) - 1
        found[f"ranking.session.gain{suffix}"] = entry(value, count, split, interval(ratio, count))
        for place, (name, played) in enumerate(((who, ours), ("blend", blend))):
            key = f"ranking.session.{name}"
            figure = entry(played.reward.mean(), count, split, interval(means[:, place], count))
            found[f"{key}.reward{suffix}"] = figure
            found[f"{key}.requests{suffix}"] = entry(played.requests.mean(), count, split)
            for part, share in shares(played.parts, objectives).items():
                found[f"{key}.share_{part}{suffix}"] = entry(share, count, split)
            mean = played.parts.engagement.sum() / max(float(played.requests.sum()), 1.0)
            found[f"{key}.engagement{suffix}"] = entry(mean, count, split)
        changed = ours.changed.sum() / max(float(ours.requests.sum()), 1.0)
        found[f"ranking.session.changed_share{suffix}"] = entry(changed, count, split)
    plain = {key: key.removesuffix("|drift_1") for key in found if key.endswith("|drift_1") and ".gain" not in key}
    return found | {short: found[key] for key, short in plain.items()}


def taking_event(dataset: Dataset) -> int:
    """Index of the commonest training event that is a positive response: what an item taken looks like."""
    habits, events = dataset.domain.session, dataset.domain.events
    counts = np.bincount(dataset.interactions.event[dataset.split.train], minlength=len(events) + FIRST_ITEM)
    good = np.array([dataset.domain.rewards.get(event, 0.0) >= habits.positive for event in events])
    common = np.where(good if (good & (counts[FIRST_ITEM:] > 0)).any() else True, counts[FIRST_ITEM:], -1)
    return int(common.argmax()) + FIRST_ITEM


def _sum(played: Iterator[Step], count: int) -> Play:
    """Totals of `count` visitors."""
    totals, slates = Play(*np.zeros((3, count)), Parts(*np.zeros((4, count))), np.zeros(0)), []
    for step in played:
        slate, outcome = step.decided.slate.numpy(), step.outcome
        slates.append(slate)
        totals.reward[step.rows] += outcome.reward.numpy()
        totals.requests[step.rows] += 1
        totals.changed[step.rows] += (slate != step.decided.first.numpy()).any(axis=1)
        for total, part in zip(totals.parts, outcome.parts, strict=True):
            total[step.rows] += part.numpy()
    return totals._replace(first=slates[0])
