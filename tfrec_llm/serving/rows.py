"""The rows that blend, fusion and ranker learn from, made by the very path that serves."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfrec_llm.config import Config
from tfrec_llm.retrieval import BlendBatch
from tfrec_llm.serving.questions import Asked, answers, history_tensors, in_batches, seen_items, user_attributes
from tfrec_llm.serving.signals import SignalPath
from tfrec_llm.training import files
from tfrec_llm.types import Candidates, Dataset, Modalities, Queries, Rows

FILE = "rows.npz"


def blend_batches(path: SignalPath, dataset: Dataset, asked: Asked, config: Config) -> Iterator[BlendBatch]:
    """Queries of every source for half B, in batches.

    Args:
      path: its blend need not be learnt.
      dataset: what `prepare` left.
      asked: which validation queries, and what was said.
      config: `evaluate.batch_size` and `export.max_history` are read.
    """
    queries, stop = dataset.split.validation, dataset.split.stop_b
    run = tf.function(lambda *inputs: path.queries(*inputs)[1], reduce_retracing=True)
    for batch in in_batches(len(asked.queries), config.evaluate.batch_size, "queries of half B"):
        rows = asked.queries[batch]
        history, time = history_tensors(dataset, queries, rows, config.export.max_history)
        found = run(history, time, tf.constant(asked.embedding[batch]), tf.constant(asked.has_text[batch]))
        exclude = seen_items(dataset, queries, rows)
        yield BlendBatch(found, history, exclude, answers(queries, rows), stop[rows])


def build_rows(path: SignalPath, dataset: Dataset, asked: Asked, config: Config) -> Rows:
    """What fusion and ranker learn from.

    Args:
      path: the signal path with its blend learnt.
      dataset: what `prepare` left.
      asked: which validation queries, and what was said.
      config: the run's settings.
    """
    queries = dataset.split.validation
    modalities, candidates = signals_of(path, dataset, queries, asked, config)
    target = _targets(answers(queries, asked.queries), candidates)
    reward = target.astype(np.float32) * next_event_value(dataset, asked.queries)[:, None]
    return Rows(modalities, candidates, target, reward, dataset.split.stop_b[asked.queries])


def signals_of(
    path: SignalPath, dataset: Dataset, queries: Queries, asked: Asked, config: Config
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], Candidates]:
    """What fusion and ranker see of some queries.

    Args:
      path: the signal path with its blend learnt.
      dataset: what `prepare` left.
      queries: of which split.
      asked: which of them, and what was said.
      config: the run's settings.

    Returns:
      Modalities and candidates as arrays, in the order of `asked`.
    """
    run = tf.function(path, reduce_retracing=True)
    parts = []
    for batch in in_batches(len(asked.queries), config.evaluate.batch_size, "candidates"):
        rows = asked.queries[batch]
        history, time = history_tensors(dataset, queries, rows, config.export.max_history)
        embedding, has_text = tf.constant(asked.embedding[batch]), tf.constant(asked.has_text[batch])
        exclude = tf.constant(seen_items(dataset, queries, rows))
        people = user_attributes(path, queries, rows)
        signals = run(history, time, embedding, has_text, exclude, config.retrieval.candidates, None, people)
        parts.append(tf.nest.map_structure(lambda t: t.numpy(), (dict(signals.modalities), signals.candidates)))
    return tf.nest.map_structure(lambda *arrays: np.concatenate(arrays), *parts)


def _targets(right: np.ndarray, candidates: Candidates) -> np.ndarray:
    """[R, K] bool: which candidates are right answers."""
    hits = np.zeros(candidates.item_ids.shape, bool)
    for column in right.T:  # as many as the largest basket has items
        hits |= candidates.item_ids == column[:, None]
    return hits & (candidates.item_ids > 0)


def next_event_value(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """[R] the domain's reward of the event that a validation query asks for, the row right after its history."""
    values = np.array([0.0, 0.0] + [dataset.domain.rewards.get(name, 0.0) for name in dataset.domain.events])
    following = np.minimum(dataset.split.validation.end[rows], len(dataset.interactions.event) - 1)
    return values[dataset.interactions.event[following]].astype(np.float32)


def save_rows(rows: Rows, folder: Path) -> None:
    """Writes rows into a stage's folder."""
    known = {"target": rows.target, "reward": rows.reward, "stop": rows.stop}
    files.write_npz(folder / FILE, _arrays(rows.modalities, rows.candidates) | known)


def read_rows(folder: Path) -> Rows:
    """Reads what `save_rows` wrote.

    Raises:
      ValueError: the file is missing or damaged.
    """
    arrays = files.read_npz(folder / FILE)
    return Rows(*_signals(arrays), arrays["target"], arrays["reward"], arrays["stop"])


def save_signals(modalities: Modalities, candidates: Candidates, folder: Path) -> None:
    """Writes what `signals_of` gave into a stage's folder."""
    files.write_npz(folder / FILE, _arrays(modalities, candidates))


def read_signals(folder: Path) -> tuple[Modalities, Candidates]:
    """Reads what `save_signals` wrote.

    Raises:
      ValueError: the file is missing or damaged.
    """
    return _signals(files.read_npz(folder / FILE))


def _arrays(modalities: Modalities, candidates: Candidates) -> dict[str, np.ndarray]:
    arrays = {f"modality.{name}.{part}": a for name, pair in modalities.items() for part, a in enumerate(pair)}
    return arrays | {f"candidates.{name}": array for name, array in candidates._asdict().items()}


def _signals(arrays: Mapping[str, np.ndarray]) -> tuple[Modalities, Candidates]:
    names = sorted({key.split(".")[1] for key in arrays if key.startswith("modality.")})
    modalities = {name: (arrays[f"modality.{name}.0"], arrays[f"modality.{name}.1"]) for name in names}
    return modalities, Candidates(*(arrays[f"candidates.{name}"] for name in Candidates._fields))
