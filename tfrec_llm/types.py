"""The records that travel between stages; no logic.

One letter per dimension: B batch, T time, N items, K candidates, n slate, I intents, E emotions, D text, Q query,
H state, C context, F candidate features, R logged rounds, M events, U users, V event types.
Item index 0 is padding, 1 unknown, 2 to N+1 the items: every item table has N+2 rows.
Event index 0 is padding, 1 unknown, 2 to V+1 the event types of the domain.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

Tensor = Any
PADDING, UNKNOWN, FIRST_ITEM = 0, 1, 2


class History(NamedTuple):
    """What users did: oldest first, padded on the right with 0, newest T kept."""

    item: Tensor  # [B, T] int32 item indices
    event: Tensor  # [B, T] int32 event-type indices
    time: Tensor  # [B, T] int64 seconds, 0 unknown


class Pieces(NamedTuple):
    """Pieces of histories to train on; the first three as of `History`."""

    item: Tensor  # [B, T]
    event: Tensor  # [B, T]
    time: Tensor  # [B, T]
    first: Tensor  # [B] bool, whether a piece opens with its user's first event

    @property
    def history(self) -> History:
        """The pieces as histories."""
        return History(self.item, self.event, self.time)


class TextSignals(NamedTuple):
    """What an utterance says."""

    intent: Tensor  # [B, I] probabilities
    emotion: Tensor  # [B, E] probabilities
    sentiment: Tensor  # [B, 3] probabilities: negative, neutral, positive
    embedding: Tensor  # [B, D] unit length


class BehaviourSignals(NamedTuple):
    """What the user will do next."""

    query: Tensor  # [B, Q]; times the item table = next-item logits
    state: Tensor  # [B, H]
    event: Tensor  # [B, V] logits of the next event type
    time_gap: Tensor  # [B] expected log2(1 + seconds) to the next event


class SignalsWithout(NamedTuple):
    """The same, and what is asked by histories that lack one of their newest events."""

    signals: BehaviourSignals
    queries: Tensor  # [B, L + 1, Q], the last one of the whole history; of no meaning in views of a shorter history
    begun: Tensor  # there when the longest part of the work can begin; what is less urgent may wait for it


class ItemVectors(NamedTuple):
    """What items are, one row per item index."""

    text: Tensor  # [N+2, D] unit length, rows 0 and 1 zero
    image: Tensor | None  # [N+2, *]
    audio: Tensor | None  # [N+2, *]
    attributes: Tensor | None  # [N+2, *]
    present: Tensor  # [N+2, modalities] bool


Modalities = Mapping[str, tuple[Tensor, Tensor]]  # name -> (values [B, *], present [B] bool)


class Candidates(NamedTuple):
    """What could fit, best first."""

    item_ids: Tensor  # [B, K] int32 item indices, 0 where fewer than K are allowed
    scores: Tensor  # [B, K] blend scores
    features: Tensor  # [B, K, F]
    allowed: Tensor  # [B, K] bool


class Slate(NamedTuple):
    """What is shown."""

    item_ids: Tensor  # [B, n] int32 item indices
    scores: Tensor  # [B, n]
    propensities: Tensor  # [B, n] probability of that item in that slot given the slots above


class SlateFeedback(NamedTuple):
    """What was shown and what came of it."""

    context: Tensor  # [R, C]
    candidates: Tensor  # [R, K, F]
    slate: Tensor  # [R, n] positions in K
    rewards: Tensor  # [R, n]
    propensities: Tensor  # [R, n]


class Rows(NamedTuple):
    """Logged decisions with known answers: what fusion and ranker learn from."""

    modalities: Modalities  # name -> (values [R, *], present [R] bool)
    candidates: Candidates  # [R, K] each
    target: Tensor  # [R, K] bool: this candidate came next
    reward: Tensor  # [R, K] the domain's value of the candidate if it came next, else 0
    stop: Tensor  # [R] bool: rows that stop the training instead of being trained on


@dataclass(frozen=True)
class Interactions:
    """Events, sorted by user, then time, ties in the file's order."""

    user: np.ndarray  # [M] int32, 0 to U-1
    item: np.ndarray  # [M] int32 item index
    time: np.ndarray  # [M] int64 seconds
    event: np.ndarray  # [M] int32 event-type index
    value: np.ndarray  # [M] float32: rating, price paid or quantity; 1 where unknown
    user_ids: np.ndarray  # [U] str


@dataclass(frozen=True)
class Catalogue:
    """Items; position = item index, rows 0 ("") and 1 ("[unknown]") are not items."""

    item_ids: np.ndarray  # [N+2] str
    titles: np.ndarray  # [N+2] str
    texts: np.ndarray  # [N+2] str: title, description, attributes in one passage
    attributes: Mapping[str, tuple[tuple[str, ...], ...]]  # name -> N+2 tuples of values, () where unknown
    price: np.ndarray  # [N+2] float32, nan where unknown
    available: np.ndarray  # [N+2] bool, rows 0 and 1 False


@dataclass(frozen=True)
class Utterances:
    """Sentences with whatever labels their corpus has; None = the corpus lacks that label.

    `labels` are the names that the integers in the label arrays stand for; -1 = this row has no label.
    """

    corpus: str
    texts: np.ndarray  # [R] str
    split: np.ndarray  # [R] str: "train", "validation" or "test"
    language: np.ndarray  # [R] str: "en" or "zh"
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # "intent" | "emotion" | "sentiment" -> names
    intent: np.ndarray | None = None  # [R] int32, or [R, names] bool where multi-label
    emotion: np.ndarray | None = None  # [R] int32
    sentiment: np.ndarray | None = None  # [R] int32


class Span(NamedTuple):
    """A part of a text that says what is wanted."""

    begin: int  # first character
    end: int  # one past the last character
    kind: str  # an attribute's name, or "low", "high", "below", "above" of the price
    value: str  # the attribute's value; of a price what was said


@dataclass(frozen=True)
class SpanUtterances:
    """SYNTHETIC sentences whose spans are known."""

    texts: np.ndarray  # [R] str
    split: np.ndarray  # [R] str: "train", "validation" or "test"
    spans: tuple[tuple[Span, ...], ...]  # R rows, in the order of the text


@dataclass(frozen=True)
class SessionHabits:
    """How users behave over the requests of a simulated session; `ranking.simulators` reads it."""

    positive: float = 0.5  # an event worth at least so much is a positive response
    requests: int = 10  # in a session at most
    attention: float = 0.8  # probability that an item is looked at where the one above it was
    drift: float = 0.1  # share of the interest that becomes that of what was looked at, in each request
    boredom: float = 0.5  # log-odds lost by an item all of whose categories filled the last request
    memory: float = 0.7  # share of the boredom that is left at the next request
    leaving: float = 0.05  # probability of leaving after any request
    disappointment: float = 0.3  # the same on top, after a request in which nothing was liked
    category: str = ""  # the catalogue's attribute that users get bored of; "" = its first


@dataclass(frozen=True)
class Objectives:
    """What a slate is for: weights that sum to one; see `ranking.objectives`."""

    engagement: float = 0.7
    diversity: float = 0.1
    fairness: float = 0.1  # to suppliers
    safety: float = 0.1
    supplier: str = ""  # the catalogue's attribute that names suppliers; "" = its first
    harm: float = -0.5  # an event whose satisfaction is at most so much does harm


@dataclass(frozen=True)
class Domain:
    """One kind of business: what can be said, done and gained in it. Read from `data/domains/<name>.toml`."""

    name: str
    step: str  # "event": one event is one step; "basket": events of one second are one step
    repeat: bool  # items that the user already has stay candidates
    events: tuple[str, ...]  # V event types
    rewards: Mapping[str, float]  # event type -> value of that event happening to a shown item
    satisfaction: Mapping[str, float]  # event type -> weight in [-1, 1]; see ranking.rewards
    intents: tuple[str, ...]
    emotions: tuple[str, ...]
    attributes: tuple[str, ...]  # user attributes in the order of the serving signature; off unless use_attributes
    use_attributes: bool
    utterance_attributes: tuple[str, ...]  # catalogue attributes that synthetic utterances may name
    templates: Mapping[str, Mapping[str, tuple[str, ...]]]  # language -> intent -> templates with {attribute} holes
    words: Mapping[str, Mapping[str, tuple[str, ...]]]  # language -> attribute value -> ways to say it
    feelings: Mapping[str, Mapping[str, tuple[str, ...]]]  # language -> emotion -> phrases
    deny: tuple[str, ...]  # item ids or attribute=value that are never shown
    requests: tuple[str, ...] = ()  # intents that ask for items: synthetic utterances use only these; () = all
    prices: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)  # language -> kind -> phrases
    intent_map: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # corpus -> its label -> intent
    unnamed: str = ""  # event type of a log that names none; "" = the first
    session: SessionHabits = SessionHabits()
    objectives: Objectives = Objectives()


@dataclass(frozen=True)
class Queries:
    """Questions of an evaluation: given rows [begin, end) of the interactions, what comes next?"""

    user: np.ndarray  # [R] int32
    begin: np.ndarray  # [R] int64 first row of the history
    end: np.ndarray  # [R] int64 one past the last row of the history
    time: np.ndarray  # [R] int64 seconds of the question
    relevant: np.ndarray  # [P] int32 item indices, concatenated over queries
    offsets: np.ndarray  # [R+1] int64: relevant[offsets[r]:offsets[r+1]] answers query r


@dataclass(frozen=True)
class Cold:
    """Items that training never sees, and the questions that they answer, with no other answers."""

    items: np.ndarray  # [N+2] bool
    validation: Queries
    test: Queries


@dataclass(frozen=True)
class Split:
    """Who may see what."""

    train: np.ndarray  # [M] bool: the events that may be learnt from
    validation: Queries
    half_b: np.ndarray  # [Rv] bool: validation queries for blend, fusion, ranker; the others stop the stages
    stop_b: np.ndarray  # [Rv] bool: the tenth of half B that stops blend, fusion and ranker
    test: Queries
    cold: Cold | None = None  # what was held out; validation and test are then asked of the other items


@dataclass(frozen=True)
class Dataset:
    """Everything that `prepare` leaves behind."""

    name: str
    domain: Domain
    interactions: Interactions
    catalogue: Catalogue
    split: Split
    protocol: Mapping[str, Any]  # dataset, items, users, interactions, split, trained_on, candidates, ties, sha256
