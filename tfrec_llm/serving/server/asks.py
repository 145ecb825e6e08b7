"""What the server asks its model worker, and what it hears: rows of plain values."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

TEXTS = ("intent", "emotion", "sentiment", "model_version")


@dataclass(frozen=True)
class Ask:
    """One row of `decide`, its lists not yet padded."""

    request_id: str = ""  # "" = greedy
    user_id: str = ""
    utterance: str = ""
    history: Sequence[str] = ()  # oldest first
    history_event: Sequence[str] = ()
    history_time: Sequence[int] = ()
    request_time: int = 0
    attributes: Sequence[str] = ()
    exclude: Sequence[str] = ()
    k: int = 10


@dataclass(frozen=True)
class Decided:
    """One row of its outputs, cut to the row's own k."""

    item_ids: list[str]  # [n] "" where a slot stayed empty
    scores: list[float]  # [n]
    propensities: list[float]  # [n]
    because: list[list[str]]  # [n, 3]
    intent: str
    emotion: str
    sentiment: str
    intent_probability: float
    emotion_probability: float
    model_version: str
    candidate_ids: list[str]  # [K]
    context: np.ndarray = field(repr=False)  # [C]
    features: np.ndarray = field(repr=False)  # [K', F] of the first candidates
    embedding: np.ndarray | None = field(repr=False)  # [D], None where nothing was said
    fusion_version: str = ""  # of the context; "" = that of the facts


@dataclass(frozen=True)
class Facts:
    """What the worker says of the model when it is ready."""

    version: str
    fusion_version: str  # of the contexts that it makes
    max_history: int  # T
    max_attributes: int  # A
    max_exclude: int  # X
    candidates: int  # K
    engine: str  # what encodes utterances


class ModelUnavailableError(RuntimeError):
    """The model worker is starting or gone: the same request may succeed in a moment."""


class AnswerError(RuntimeError):
    """The model failed on this request."""


@dataclass
class Waiting:
    """A row that waits for its decision."""

    ask: Ask
    answer: asyncio.Future
    since: float = field(default_factory=time.perf_counter)

    def fail(self, error: Exception) -> None:
        """Tells whoever waits still."""
        if not self.answer.done():
            self.answer.set_exception(error)
