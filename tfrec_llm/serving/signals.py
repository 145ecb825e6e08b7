"""From a request's history and utterance to what the ranker needs: modalities and candidates.

The same path makes the rows that fusion and ranker learn from, answers in evaluation, and is exported.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfrec_llm.config import Slots
from tfrec_llm.retrieval.columns import SLOTS
from tfrec_llm.serving.facts import Known
from tfrec_llm.text.slots import inside
from tfrec_llm.types import BehaviourSignals, Candidates, History, Modalities, Tensor, TextSignals

SECONDS_PER_DAY = 86_400.0
NOTHING = Known()
Read = tuple[BehaviourSignals, Tensor]  # of a history: behaviour signals, the towers' query [B, Q2]


class Signals(NamedTuple):
    """Everything known about a request before anything is decided."""

    text: TextSignals
    behaviour: BehaviourSignals
    modalities: Modalities
    queries: Mapping[str, tuple[Tensor, Tensor]]  # source -> (query [B, *], present [B])
    candidates: Candidates


class SignalPath(tf.Module):
    """Text, behaviour, towers and the blended index, put one after the other.

    Args:
      text: a `text.TextModel`.
      behaviour: a `behaviour.BehaviourModel`.
      towers: a `retrieval` model with `query(history)`.
      source: the `retrieval.CandidateSource` over their tables.
      settings: `text.slots` of the config: what named attributes and prices do to the candidates.
      known: what is known of items and users beside; nothing by default.
    """

    def __init__(self, text: Any, behaviour: Any, towers: Any, source: Any, settings: Slots, known: Known = NOTHING):
        super().__init__(name="signal_path")
        self.items, self.users, self.people = known.items, known.users, known.people
        self.text, self.behaviour, self.towers, self.source = text, behaviour, towers, source
        self._settings, self._prices = settings, None
        if text.slots is not None and settings.price_filter and np.isfinite(text.attributes.price).any():
            self._prices = tf.Variable(text.attributes.price, trainable=False, name="prices")

    def queries(
        self, history: History, request_time: Tensor, embedding: Tensor, has_text: Tensor, read: Read | None = None
    ) -> tuple[BehaviourSignals, dict]:
        """The query of every source.

        Args:
          history: [B, T].
          request_time: [B] int64 seconds, 0 unknown.
          embedding: [B, D] utterance embeddings, anything where there is no text.
          has_text: [B] bool.
          read: what was read of the history, where it was.

        Returns:
          The behaviour signals, and source -> (query [B, *], present [B] bool).
        """
        if read is None:
            towers = self.towers.query(history, request_time, embedding, has_text)
            read = self.behaviour.signals(history, request_time), towers
        signals, towers = read
        known = tf.reduce_any(history.item > 0, axis=1)
        sources = {
            "behaviour": (signals.query, tf.ones_like(known)),
            "towers": (towers, known),
            "text": (embedding, has_text),
        }
        if SLOTS in self.source.widths:
            sources[SLOTS] = (self._settings.boost * self.text.named_in(embedding, has_text), has_text)
        return signals, sources

    def __call__(
        self,
        history: History,
        request_time: Tensor,
        embedding: Tensor,
        has_text: Tensor,
        exclude: Tensor,
        num_candidates: int,
        bounds: Tensor | None = None,
        attributes: Tensor | None = None,
        read: Read | None = None,
    ) -> Signals:
        """All signals of a batch of requests.

        Args:
          history: [B, T].
          request_time: [B] int64 seconds, 0 unknown.
          embedding: [B, D].
          has_text: [B] bool.
          exclude: [B, X] item indices that must not be shown, 0 where unused.
          num_candidates: K.
          bounds: [B, 2] least and most price that the utterance names, 0 = none.
          attributes: [B, A] string of the users, "" where unknown; not looked at where the domain does not use them.
          read: what was read of the history, where it was.
        """
        behaviour, queries = self.queries(history, request_time, embedding, has_text, read)
        text = self.text.signals_of(embedding, has_text)
        within = None if bounds is None or self._prices is None else inside(self._prices, bounds)
        candidates = self.source.candidates(
            queries, history, exclude, num_candidates, within, self._settings.least_candidates
        )
        joined = dict(modalities(history, request_time, text, behaviour, has_text))
        if self.users is not None:
            unknown = tf.fill([tf.shape(has_text)[0], len(self.users.names)], "")
            joined["user"] = self.users(unknown if attributes is None else attributes)
        for item in self.items:
            mean, _ = joined[f"item_{item.name}"] = item.token(history)
            features = [candidates.features, item.features(mean, candidates.item_ids)]
            candidates = candidates._replace(features=tf.concat(features, axis=-1))
        return Signals(text, behaviour, joined, queries, candidates)


def modalities(
    history: History, request_time: Tensor, text: TextSignals, behaviour: BehaviourSignals, has_text: Tensor
) -> Modalities:
    """What fusion joins: behaviour state, utterance embedding, what the utterance says, and when.

    Returns:
      behaviour [B, H], text [B, D], signals [B, I + E + 3], time [B, 3]: each with present [B] bool.
    """
    known = tf.reduce_any(history.item > 0, axis=1)
    last = tf.reduce_max(history.time, axis=1)
    says = tf.concat([text.intent, text.emotion, text.sentiment], axis=1)  # [B, I + E + 3]
    days = tf.cast(tf.maximum(request_time - last, 0), tf.float32) / SECONDS_PER_DAY  # [B]
    events = tf.reduce_sum(tf.cast(history.item > 0, tf.float32), axis=1)  # [B]
    when = tf.stack([tf.math.log1p(days), tf.math.log1p(events), behaviour.time_gap / 24.0], axis=1)  # [B, 3]
    return {
        "behaviour": (behaviour.state, known),
        "text": (text.embedding, has_text),
        "signals": (says, has_text),
        "time": (when, known & (request_time > 0) & (last > 0)),
    }
