"""The stage `ranking`: the agent replays half B's rows, is kept only where it helps, and is written and read.

A tenth of half B stops the training. The blend's order is where the agent starts, and it counts: an agent replaces it
only where its gain on the stopping rows is larger than the gain's own standard error, so that it is not kept for luck.
The stage takes seconds, so a killed one starts anew.
"""

import itertools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfrec_llm.config import Config
from tfrec_llm.evaluation import entry
from tfrec_llm.ranking import curves
from tfrec_llm.ranking.agents.registry import Agent, build_agent
from tfrec_llm.ranking.agents.shape import AgentShape
from tfrec_llm.ranking.practice import Practice, practise
from tfrec_llm.ranking.replay import Logged, Pass, Showing, passes, slate_quality
from tfrec_llm.ranking.rewards import check_rewards, event_values
from tfrec_llm.ranking.xla import choose_xla
from tfrec_llm.training import Stage, files, load_weights, save_weights, write_projector
from tfrec_llm.types import Domain, Rows

_log = logging.getLogger(__name__)


class Judgement(NamedTuple):
    """How good greedy slates are on the stopping rows."""

    ndcg: np.ndarray  # [rows]
    reward: np.ndarray  # [rows]


def train(
    config: Config,
    domain: Domain,
    rows: Rows,
    context: np.ndarray,
    prior: int,
    stage: Stage,
    practice: Practice | None = None,
    parts: Mapping[str, np.ndarray] | None = None,
) -> dict[str, dict]:
    """Trains the agent of the config on rows with known answers.

    Args:
      config: `ranking`, `train` and `seed` are read.
      domain: its rewards are checked.
      rows: [R] rows; `reward` is what a candidate brings.
      context: [R, C] what fusion makes of the rows' modalities.
      prior: which candidate feature is the blend's probability: where the agent starts.
      stage: where the results go: agent.json, weights.npz, metrics.json.
      practice: simulated users with whom it practises after the replay, None for nobody.
      parts: name -> [R, K], what the reward is made of, for TensorBoard; None = one part, the reward.

    Returns:
      Metric key -> entry: reward of greedy slates on the stopping rows, of the agent and of the blend.

    Raises:
      ValueError: rewards that are not finite or not in [0, 1]; shapes that do not fit; no row with a reward.
    """
    event_values(domain)
    training, stopping, value = _divide(rows, context)
    shape = AgentShape(
        context.shape[1], rows.candidates.features.shape[2], rows.candidates.item_ids.shape[1],
        prior, config.seed, config.ranking.slate,
    )  # fmt: skip
    agent = build_agent(config.ranking.agent, shape)
    allowed = np.asarray(training.candidates.allowed)
    agent.network.adapt(np.asarray(training.context), np.asarray(training.candidates.features)[allowed], value)
    start = judge(agent, stopping, config.ranking.slate)
    watched = {name: np.asarray(part)[np.asarray(rows.stop)] for name, part in (parts or {}).items()}
    watched = watched or {"reward": stopping.reward.numpy()}
    best = _learn(agent, training, stopping, start, config, stage, watched)
    if practice is not None and not agent.from_logs:
        best = _practise(agent, stopping, start, practice, config, stage)
    save(agent, config, stage.folder)
    metrics = _metrics(config.ranking.agent.name, start, best, stopping, config.ranking.slate)
    files.write_json(stage.folder / "metrics.json", metrics)
    _project(agent, stopping, stage)
    return metrics


def save(agent: Agent, config: Config, folder: Path) -> None:
    """Writes an agent: what it was built for, and its weights."""
    files.write_json(folder / "agent.json", {"name": config.ranking.agent.name, **agent.shape._asdict()})
    save_weights(agent.network, folder / "weights.npz")


def load(config: Config, folder: str | Path) -> Agent:
    """Reads the agent that `train` left.

    Args:
      config: its `ranking.agent` must be the one trained.
      folder: the stage's folder.

    Raises:
      ValueError: files are missing or do not fit the config.
    """
    written = files.read_json(Path(folder) / "agent.json")
    name = written.pop("name", None)
    if name != config.ranking.agent.name or set(written) != set(AgentShape._fields):
        raise ValueError(
            f"{folder}: expected the agent {config.ranking.agent.name!r} of this config, got {name!r}; "
            "build it again with: make train STAGE=ranking"
        )
    agent = build_agent(config.ranking.agent, AgentShape(**written))
    load_weights(agent.network, Path(folder) / "weights.npz")
    return agent


def judge(agent: Agent, rows: Logged, k: int) -> Judgement:
    """Greedy slates of an agent on rows with known answers."""
    scores = agent.scores(rows.context, rows.candidates)
    ndcg, reward = slate_quality(scores, rows.candidates.allowed, rows.reward, k)
    return Judgement(ndcg.numpy(), reward.numpy())


def _divide(rows: Rows, context: np.ndarray) -> tuple[Logged, Logged, float]:
    """Training rows, stopping rows, and what the next event is worth on average."""
    reward = check_rewards(rows.reward, "ranking rows")
    stop = np.asarray(rows.stop)
    if len(context) != len(reward) or not np.isfinite(context).all():
        raise ValueError(f"expected a finite context [{len(reward)}, C], got {context.shape}; run fusion on the rows.")
    target = np.asarray(rows.target, bool)
    if not target[~stop].any():
        raise ValueError(
            f"expected training rows whose true next item is a candidate, got none in {(~stop).sum()} rows; "
            "raise retrieval.candidates, or, if users take the same items again, set repeat = true in the domain TOML."
        )
    if not reward[~stop][target[~stop]].any():
        _log.warning("ranking: no event of the log is worth anything; look at [rewards] of the domain. Hits count 1.")
        reward = target.astype(np.float32)
    paid = reward[~stop][target[~stop]]

    def part(chosen: np.ndarray) -> Logged:
        logged = Logged(context, rows.candidates, reward)
        return tf.nest.map_structure(lambda values: tf.constant(np.asarray(values)[chosen]), logged)

    return part(~stop), part(stop), float(paid.mean())


def _learn(
    agent: Agent,
    training: Logged,
    stopping: Logged,
    start: Judgement,
    config: Config,
    stage: Stage,
    parts: Mapping[str, np.ndarray],
) -> Judgement:
    """Replays until no pass is better, and leaves the best weights in the agent."""
    settings = config.ranking
    showing = Showing(settings.slate, settings.replay_exploration, settings.explore_top, settings.batch_size)
    jit_compile = choose_xla(
        lambda: build_agent(settings.agent, agent.shape), training, showing, config.train, settings.epochs
    )
    replayed = passes(agent, training, showing, np.random.default_rng(config.seed), jit_compile)
    first = [v.numpy() for v in agent.network.variables]
    best, weights, waited, ideal = start, first, 0, _ideal(stopping, settings.slate)
    writer = tf.summary.create_file_writer(str(stage.logs))
    with tqdm(total=settings.epochs, desc="ranking", unit="pass", leave=False) as bar:
        for number, done in enumerate(itertools.islice(replayed, settings.epochs), start=1):
            now = judge(agent, stopping, settings.slate)
            _record(writer, number, done, now, ideal)
            _look_at(writer, number, agent, stopping, showing, parts)
            bar.set_postfix(reward=f"{done.reward:.4f}", ndcg=f"{now.ndcg.mean():.4f}" if now.ndcg.size else "-")
            bar.update()
            if is_better(now, best):
                best, weights, waited = now, [v.numpy() for v in agent.network.variables], 0
            else:
                waited += 1
            if waited >= settings.patience:
                break
    if best is not start and not is_better(best, start, errors=1.0):
        _log.info("ranking: the best pass is within one standard error of the blend's order, which is kept")
        best, weights = start, first
    for variable, value in zip(agent.network.variables, weights, strict=True):
        variable.assign(value)
    return best


def _practise(
    agent: Agent, stopping: Logged, start: Judgement, practice: Practice, config: Config, stage: Stage
) -> Judgement:
    """Rounds of simulated sessions, as long as greedy slates stay about as good as the blend's."""
    settings = config.ranking

    def keeps() -> bool:
        now = judge(agent, stopping, settings.slate).ndcg
        return not now.size or float((now - start.ndcg).mean()) >= -settings.session_tolerance

    writer = tf.summary.create_file_writer(str(stage.logs))
    for number, done in enumerate(practise(agent, practice, settings, config.seed, keeps), start=1):
        with writer.as_default(step=number):
            tf.summary.scalar("practice/reward", done.reward)
            tf.summary.scalar("practice/loss", done.loss)
            for name, share in done.shares.items():
                tf.summary.scalar(f"practice/share_of_{name}", share)
        _log.info("ranking: practice round %d: reward of a request %.4f", number, done.reward)
    writer.close()
    return judge(agent, stopping, settings.slate)


def is_better(now: Judgement, then: Judgement, errors: float = 0.0) -> bool:
    """Whether the mean NDCG gained more than so many standard errors of the paired gain."""
    gain = now.ndcg - then.ndcg
    if len(gain) < 2:
        return False
    return bool(gain.mean() > errors * gain.std(ddof=1) / np.sqrt(len(gain)) and gain.mean() > 0)


def _record(writer: tf.summary.SummaryWriter, number: int, done: Pass, now: Judgement, ideal: np.ndarray) -> None:
    if not np.isfinite(done.loss):
        raise ValueError(
            f"ranking: expected a finite loss, got {done.loss} in pass {number}; lower ranking.agent.learning_rate."
        )
    with writer.as_default(step=number):
        tf.summary.scalar("replay/reward", done.reward)
        tf.summary.scalar("replay/loss", done.loss)
        if now.ndcg.size:
            tf.summary.scalar("stopping/ndcg", now.ndcg.mean())
            tf.summary.scalar("stopping/reward", now.reward.mean())
            tf.summary.scalar("stopping/regret", (ideal - now.reward).mean())
    writer.flush()


def _look_at(
    writer: tf.summary.SummaryWriter,
    number: int,
    agent: Agent,
    rows: Logged,
    showing: Showing,
    parts: Mapping[str, np.ndarray],
) -> None:
    """Explored slates of the stopping rows, for TensorBoard; the agent learns nothing from them."""
    if not rows.reward.shape[0]:
        return
    draw, scores = curves.decide(
        agent, rows.context, rows.candidates, showing.slate, showing.floor, showing.explore_top, number
    )
    place, filled = np.maximum(draw.positions, 0), np.asarray(draw.positions) >= 0
    gained = {name: np.take_along_axis(part, place, axis=1) * filled for name, part in parts.items()}  # [R, n] each
    with writer.as_default(step=number):
        tf.summary.scalar("explored/reward", sum(part.sum(axis=1).mean() for part in gained.values()))
        curves.write(curves.sum_up(draw, scores, rows.candidates, gained), "explored/")
    writer.flush()


def _ideal(rows: Logged, k: int) -> np.ndarray:
    """[R] the reward of the best slate of the same candidates."""
    return np.sort(np.where(rows.candidates.allowed, rows.reward, 0.0), axis=1)[:, ::-1][:, :k].sum(axis=1)


def _metrics(name: str, start: Judgement, best: Judgement, rows: Logged, k: int) -> dict[str, dict]:
    """Of the greedy slates on the stopping rows; regret against the best slate of the same candidates."""
    if not start.ndcg.size:
        return {}
    ideal = _ideal(rows, k).mean()
    metrics = {}
    for who, judged in ((name, best), ("blend", start)):
        count, reward = len(judged.ndcg), judged.reward.mean()
        metrics[f"ranking.replay.{who}.reward"] = entry(reward, count, "validation")
        metrics[f"ranking.replay.{who}.regret"] = entry(ideal - reward, count, "validation")
        metrics[f"ranking.replay.{who}.ndcg@{k}"] = entry(judged.ndcg.mean(), count, "validation")
    _log.info("ranking: reward of a slate %.4f, of the blend %.4f", best.reward.mean(), start.reward.mean())
    return metrics


def _project(agent: Agent, rows: Logged, stage: Stage) -> None:
    """What the agent sees of the first candidate of each stopping row, for TensorBoard's projector."""
    if rows.reward.shape[0]:
        seen = agent.network.hidden(rows.context, rows.candidates.features[:, :1])[:, 0]
        labels = {"reward": rows.reward[:, 0].numpy(), "item": rows.candidates.item_ids[:, 0].numpy()}
        write_projector(stage.logs, "first_candidates", seen.numpy(), labels)
