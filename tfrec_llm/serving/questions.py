"""Queries of the protocol as requests: histories as tensors, and what their users said.

Each validation query of half B is asked without an utterance, and a share of them a second time with a synthetic one.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfrec_llm import data, retrieval
from tfrec_llm.config import Config
from tfrec_llm.data.incidence import training_counts
from tfrec_llm.retrieval import Spoken
from tfrec_llm.text import encode_texts
from tfrec_llm.types import Dataset, History, Queries

_NARROW = 8  # events: the narrowest history that is made


class Asked(NamedTuple):
    """Queries with what their users said: one entry a row."""

    queries: np.ndarray  # [R] positions in the Queries
    embedding: np.ndarray  # [R, D], zero where nothing was said
    has_text: np.ndarray  # [R] bool


def half_b(text: Any, dataset: Dataset, config: Config) -> Asked:
    """Half B's queries without utterances, then a share of them again with synthetic ones (training templates).

    Args:
      text: a `text.TextModel`, for its encoder.
      dataset: what `prepare` left.
      config: `data.utterances_share`, `text` and `seed` are read.
    """
    rows = np.flatnonzero(dataset.split.half_b)
    generator = np.random.default_rng(config.seed)
    spoken = rows[generator.random(len(rows)) < config.data.utterances_share]
    texts = data.synthesise(dataset, first_relevant(dataset.split.validation, spoken), "train", config.seed)
    said = encode_utterances(text, texts, config)
    return Asked(
        np.concatenate([rows, spoken]),
        np.concatenate([np.zeros((len(rows), text.dim), np.float32), said]),
        np.concatenate([np.zeros(len(rows), bool), np.ones(len(spoken), bool)]),
    )


def spoken_of(text: Any, dataset: Dataset, config: Config) -> Spoken | None:
    """Synthetic utterances (training templates) for the towers to train with; None where they are to hear none.

    Args:
      text: a `text.TextModel`, for its encoder.
      dataset: what `prepare` left.
      config: `retrieval.model`, `text` and `seed` are read.
    """
    own, counts = retrieval.model_settings(config), training_counts(dataset)
    if not own.spoken_share or not data.can_name(dataset):
        return None
    wanted = retrieval.speakers(counts, own.spoken, config.seed)
    if not len(wanted):
        return None
    others = np.setdiff1d(np.flatnonzero(counts), wanted)  # what these mean, others' words say
    items = np.concatenate([wanted, others])
    texts, names = data.synthesise_named(dataset, items, "train", config.seed)
    different, back = np.unique(texts[: len(wanted)], return_inverse=True)
    said = encode_utterances(text, different, config)[back]
    return retrieval.bank(items, names, said, len(dataset.catalogue.item_ids))


def first_relevant(queries: Queries, rows: np.ndarray) -> np.ndarray:
    """[len(rows)] the first right answer of each query, 0 where none of its items can be ranked."""
    return answers(queries, rows)[:, 0]


def encode_utterances(text: Any, utterances: np.ndarray, config: Config) -> np.ndarray:
    """[R, D] embeddings of what users say."""
    settings = config.text
    return encode_texts(
        text.encoder,
        list(utterances),
        "query",
        settings.max_tokens,
        settings.batch_size,
        settings.precision,
        settings.engine,
    )


def in_batches(count: int, size: int, label: str) -> Iterator[np.ndarray]:
    """Positions 0 to count-1 in batches, with a progress bar."""
    with tqdm(total=count, desc=label, unit="row", leave=False) as bar:
        for start in range(0, count, size):
            batch = np.arange(start, min(start + size, count))
            yield batch
            bar.update(len(batch))


def history_tensors(
    dataset: Dataset, queries: Queries, rows: np.ndarray, max_history: int
) -> tuple[History, tf.Tensor]:
    """The histories [B, T] and question times [B] of some queries.

    T is at most `max_history`, and a power of two that holds the longest of them: padding changes no answer, takes as
    long as events do, and only a few widths are traced.
    """
    longest = max(_NARROW, int((queries.end[rows] - queries.begin[rows]).max(initial=1)))
    width = min(max_history, 1 << (longest - 1).bit_length())
    history = History(*map(tf.constant, data.histories(dataset.interactions, queries, rows, width)))
    return history, tf.constant(queries.time[rows], tf.int64)


def seen_items(dataset: Dataset, queries: Queries, rows: np.ndarray) -> np.ndarray:
    """[len(rows), X] int32 all that the users of some queries already have, padded with 0; nothing where items repeat.

    A history that is longer than the model's window is left out by this, not by the window.
    """
    if dataset.domain.repeat:
        return np.zeros((len(rows), 1), np.int32)
    longest = int((queries.end[rows] - queries.begin[rows]).max(initial=1))
    return data.histories(dataset.interactions, queries, rows, max(longest, 1)).item


def user_attributes(path: Any, queries: Queries, rows: np.ndarray) -> tf.Tensor | None:
    """[len(rows), A] string what is known of the users of some queries, None where the path looks at none."""
    return None if path.people is None else tf.constant(path.people[queries.user[rows]])


def answers(queries: Queries, rows: np.ndarray) -> np.ndarray:
    """[len(rows), M] int32 the right answers of some queries, padded with 0."""
    length = queries.offsets[rows + 1] - queries.offsets[rows]
    places = np.arange(max(1, length.max(initial=1)))[None, :]
    inside = places < length[:, None]
    found = np.zeros(inside.shape, np.int32)
    found[inside] = queries.relevant[(queries.offsets[rows][:, None] + places)[inside]]
    return found
