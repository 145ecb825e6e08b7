"""Rows of the event log: checked before they are kept, and read back as the join's records."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfrec_llm.feedback.records import Decisions, Events
from tfrec_llm.feedback.tables import ID_LENGTH

_LATEST = 2**53  # seconds; what every database and JSON can hold exactly


@dataclass(frozen=True)
class DecisionRow:
    """One decision, as the server made it: the outputs of `decide` and what they were made from."""

    decision_id: str
    time: int  # seconds
    user_key: str  # `event_log.user_key`, never the id
    model_version: str
    fusion_version: str
    history: Sequence[str]
    candidate_ids: Sequence[str]  # [K] "" where not allowed
    features: np.ndarray  # [K', F] of the first K' candidates
    context: np.ndarray  # [C]
    item_ids: Sequence[str]  # [n] "" where a slot stayed empty
    propensities: np.ndarray  # [n]
    embedding: np.ndarray | None = None  # [D]
    utterance: str | None = None


@dataclass(frozen=True)
class EventRow:
    """One thing that a user did with an item that was shown."""

    event_id: str
    decision_id: str
    item_id: str
    event: str
    value: float
    time: int  # seconds


def stored_decision(row: DecisionRow) -> dict[str, Any]:
    """A decision as a row of the table.

    Raises:
      ValueError: an id that is empty, too long or holds a null character; propensities or arrays that are not finite
        or of another shape than the rest.
    """
    names = {"decision_id": row.decision_id, "user_key": row.user_key}
    for name, value in names.items():
        _check_id(name, value)
    items = (*row.history, *row.candidate_ids, *row.item_ids)
    for item in items:
        _check_text("an item id", item)
    _check_time("decision", row.decision_id, row.time)
    features, propensities = np.asarray(row.features, np.float32), np.asarray(row.propensities, np.float32)
    if features.ndim != 2 or len(features) > len(row.candidate_ids) or propensities.shape != (len(row.item_ids),):
        raise ValueError(
            f"decision {row.decision_id!r}: expected features [K', F] of at most {len(row.candidate_ids)} candidates "
            f"and {len(row.item_ids)} propensities, got {features.shape} and {propensities.shape}; log the outputs of "
            "one row of `decide` together."
        )
    shown = np.array([item != "" for item in row.item_ids], bool)
    if not ((propensities[shown] > 0) & (propensities[shown] <= 1)).all():
        raise ValueError(
            f"decision {row.decision_id!r}: expected propensities above 0 and at most 1 of what was shown, got "
            f"{propensities[shown].tolist()}; log those of `decide`."
        )
    embedding = np.zeros(0) if row.embedding is None else row.embedding
    arrays = {"context": row.context, "features": features, "embedding": embedding}
    return {
        **names,
        "time": int(row.time),
        "model_version": row.model_version,
        "fusion_version": row.fusion_version,
        "history": list(row.history),
        "candidate_ids": list(row.candidate_ids),
        "item_ids": list(row.item_ids),
        "propensities": propensities.astype("<f4").tobytes(),
        "logged": len(features),
        "utterance": None if row.utterance is None else row.utterance.replace("\0", ""),
        **{name: _half(row.decision_id, name, values) for name, values in arrays.items()},
    }


def stored_event(row: EventRow) -> dict[str, Any]:
    """An event as a row of the table.

    Raises:
      ValueError: an id that is empty, too long or holds a null character, a value that is not finite, a time before
        1970 or beyond all calendars.
    """
    texts = {name: getattr(row, name) for name in ("event_id", "decision_id", "item_id", "event")}
    for name, value in texts.items():
        _check_id(name, value)
    _check_time("event", row.event_id, row.time)
    if not math.isfinite(row.value):
        raise ValueError(f"event {row.event_id!r}: expected a finite value, got {row.value}; send 1 if it is unknown.")
    return {**texts, "value": float(row.value), "time": int(row.time)}


def decisions_of(rows: Sequence[Mapping[str, Any]]) -> Decisions:
    """Rows of the table -> [R] records, narrower ones padded: "" for ids, 0 for numbers.

    The candidates are those whose features were logged; a slate's item beyond them leaves its slot empty.
    """
    contexts = [np.frombuffer(row["context"], "<f2") for row in rows]
    features = [_features(row) for row in rows]
    offered = [row["candidate_ids"][: len(own)] for row, own in zip(rows, features, strict=True)]
    slates = [
        [item if item in set(names) else "" for item in row["item_ids"]]
        for row, names in zip(rows, offered, strict=True)
    ]
    chances = [np.frombuffer(row["propensities"], "<f4") for row in rows]
    width, deep = max(map(len, offered), default=0), max((f.shape[1] for f in features), default=0)
    tensor = np.zeros((len(rows), width, deep), np.float32)
    for row, own in enumerate(features):
        tensor[row, : len(own), : own.shape[1]] = own
    return Decisions(
        np.array([row["decision_id"] for row in rows], str),
        np.array([row["time"] for row in rows], np.int64),
        _matrix(contexts, np.float32),
        _matrix(offered, str),
        tensor,
        _matrix(slates, str),
        _matrix(chances, np.float32),
    )


def events_of(rows: Sequence[Mapping[str, Any]]) -> Events:
    """Rows of the table -> [M] records."""
    kinds = {"value": np.float64, "time": np.int64}
    names = ("event_id", "decision_id", "item_id", "event", "value", "time")
    return Events(*(np.array([row[name] for row in rows], kinds.get(name, str)) for name in names))


def _features(row: Mapping[str, Any]) -> np.ndarray:
    """[K', F] of the candidates that have some."""
    flat, count = np.frombuffer(row["features"], "<f2"), row["logged"]
    return flat.reshape(count, -1) if count else np.zeros((0, 0), np.float32)


def _matrix(rows: Sequence[Sequence[Any]], dtype: Any) -> np.ndarray:
    """Rows of unequal length -> [R, widest]."""
    width = max(map(len, rows), default=0)
    fill = "" if dtype is str else 0
    return np.array([[*row, *[fill] * (width - len(row))] for row in rows], dtype).reshape(len(rows), width)


def _half(owner: str, name: str, values: np.ndarray) -> bytes:
    """float16 bytes; what is larger than float16 can say becomes its largest number."""
    values = np.asarray(values, np.float32)
    if not np.isfinite(values).all():
        raise ValueError(f"decision {owner!r}: expected finite numbers as {name}, got others; mend the model.")
    largest = float(np.finfo(np.float16).max)
    return np.clip(values, -largest, largest).astype("<f2").tobytes()


def _check_id(name: str, value: str) -> None:
    if not value or len(value) > ID_LENGTH:
        raise ValueError(f"expected a {name} of 1 to {ID_LENGTH} characters, got {len(value)}; send a shorter one.")
    _check_text(name, value)


def _check_text(name: str, value: str) -> None:
    if "\0" in value:
        raise ValueError(f"expected {name} without null characters, got {value[:40]!r}; leave them out.")


def _check_time(what: str, owner: str, time: int) -> None:
    if not 0 <= time < _LATEST:
        raise ValueError(f"{what} {owner!r}: expected a time in seconds since 1970, got {time}; send seconds.")
