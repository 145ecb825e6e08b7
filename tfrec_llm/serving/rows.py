"""The rows that blend, fusion and ranker learn from, made by the very path that serves.

Each validation query of half B gives a row without utterance, and a share of them a second row with a synthetic one.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfrec_llm import data
from tfrec_llm.config import Config
from tfrec_llm.serving.signals import SignalPath
from tfrec_llm.text import encode_texts
from tfrec_llm.types import Candidates, Dataset, History, Queries, Rows


class Asked(NamedTuple):
    """Queries with what their users said: one entry a row."""

    queries: np.ndarray  # [R] positions in the Queries
    embedding: np.ndarray  # [R, D], zero where nothing was said
    has_text: np.ndarray  # [R] bool


def half_b(path: SignalPath, dataset: Dataset, config: Config) -> Asked:
    """Half B's queries without utterances, then a share of them again with synthetic ones (training templates).

    Args:
      path: for its encoder.
      dataset: what `prepare` left.
      config: `data.utterances_share`, `text` and `seed` are read.
    """
    rows = np.flatnonzero(dataset.split.half_b)
    generator = np.random.default_rng(config.seed)
    spoken = rows[generator.random(len(rows)) < config.data.utterances_share]
    texts = data.synthesise(dataset, first_relevant(dataset.split.validation, spoken), "train", config.seed)
    said = encode_utterances(path, texts, config)
    return Asked(
        np.concatenate([rows, spoken]),
        np.concatenate([np.zeros((len(rows), path.text.dim), np.float32), said]),
        np.concatenate([np.zeros(len(rows), bool), np.ones(len(spoken), bool)]),
    )


def first_relevant(queries: Queries, rows: np.ndarray) -> np.ndarray:
    """[len(rows)] the first right answer of each query."""
    return queries.relevant[queries.offsets[rows]]


def encode_utterances(path: SignalPath, texts: np.ndarray, config: Config) -> np.ndarray:
    """[R, D] embeddings of what users say."""
    if not len(texts):
        return np.zeros((0, path.text.dim), np.float32)
    return encode_texts(
        path.text.encoder, list(texts), "query", config.text.max_tokens, batch_size=config.text.batch_size
    )


def in_batches(count: int, size: int, label: str) -> Iterator[np.ndarray]:
    """Positions 0 to count-1 in batches, with a progress bar."""
    with tqdm(total=count, desc=label, unit="row", leave=False) as bar:
        for start in range(0, count, size):
            batch = np.arange(start, min(start + size, count))
            yield batch
            bar.update(len(batch))


def tensors(dataset: Dataset, queries: Queries, rows: np.ndarray, max_history: int) -> tuple[History, tf.Tensor]:
    """The histories and question times of some queries, as tensors."""
    history = History(*map(tf.constant, data.histories(dataset.interactions, queries, rows, max_history)))
    return history, tf.constant(queries.time[rows], tf.int64)


def build_rows(path: SignalPath, dataset: Dataset, asked: Asked, config: Config) -> Rows:
    """What fusion and ranker learn from.

    Args:
      path: the signal path with its blend learnt.
      dataset: what `prepare` left.
      asked: which validation queries, and what was said.
      config: the run's settings.
    """
    queries = dataset.split.validation
    run = tf.function(path, reduce_retracing=True)
    nothing = tf.zeros([1, 0], tf.int32)
    parts = []
    for batch in in_batches(len(asked.queries), config.evaluate.batch_size, "candidates of half B"):
        rows = asked.queries[batch]
        history, time = tensors(dataset, queries, rows, config.export.max_history)
        exclude = tf.repeat(nothing, len(rows), axis=0)
        signals = run(
            history,
            time,
            tf.constant(asked.embedding[batch]),
            tf.constant(asked.has_text[batch]),
            exclude,
            config.retrieval.candidates,
        )
        modalities = {name: (v.numpy(), p.numpy()) for name, (v, p) in signals.modalities.items()}
        parts.append((modalities, Candidates(*(t.numpy() for t in signals.candidates))))
    return _joined(parts, dataset, asked)


def _joined(parts: list, dataset: Dataset, asked: Asked) -> Rows:
    modalities = {name: tuple(np.concatenate([m[name][i] for m, _ in parts]) for i in (0, 1)) for name in parts[0][0]}
    candidates = Candidates(*(np.concatenate(columns) for columns in zip(*(c for _, c in parts), strict=True)))
    target = targets(dataset.split.validation, asked.queries, candidates.item_ids)
    worth = next_event_value(dataset, asked.queries)
    reward = target.astype(np.float32) * worth[:, None]
    return Rows(modalities, candidates, target, reward, dataset.split.stop_b[asked.queries])


def targets(queries: Queries, rows: np.ndarray, item_ids: np.ndarray) -> np.ndarray:
    """[R, K] bool: which candidates are right answers of their query."""
    target = np.zeros(item_ids.shape, bool)
    for r, row in enumerate(rows):
        target[r] = np.isin(item_ids[r], queries.relevant[queries.offsets[row] : queries.offsets[row + 1]])
    return target & (item_ids > 0)


def next_event_value(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """[R] the domain's reward of the event that the validation query asks for (the row right after its history)."""
    values = np.array([0.0, 0.0] + [dataset.domain.rewards.get(name, 0.0) for name in dataset.domain.events])
    following = dataset.split.validation.end[rows]
    return values[dataset.interactions.event[following]].astype(np.float32)
