"""The recommender as one tf.Module: strings in, item ids with propensities and reasons out.

`decide` is the whole decision; `serving_default` puts tokenizer and encoder in front of it. Item indices become strings
only here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from tfrec_llm.layers.left_out import leave_out
from tfrec_llm.ranking.agents.registry import scores_and_rule
from tfrec_llm.ranking.exploration import fill_slate, uniforms
from tfrec_llm.serving.reasons import Views, drops, drops_by_copies, strongest
from tfrec_llm.serving.signals import Read, SignalPath, Signals
from tfrec_llm.serving.vocabulary import VOCABULARY, ItemVocabulary, SmallVocabulary
from tfrec_llm.text.slots import split_bounds
from tfrec_llm.types import Catalogue, Domain, History, Slate, Tensor

SENTIMENTS = ("negative", "neutral", "positive")


class Request(NamedTuple):
    """The inputs of `decide`, in the words of the serving signature."""

    request_id: Tensor  # [B] string, "" = greedy
    user_id: Tensor  # [B] string
    history: Tensor  # [B, T] string
    history_event: Tensor  # [B, T] string
    history_time: Tensor  # [B, T] int64
    request_time: Tensor  # [B] int64
    attributes: Tensor  # [B, A] string
    exclude: Tensor  # [B, X] string
    k: Tensor  # [B] int32


class Answer(NamedTuple):
    """A decision before ids become strings."""

    slate: Slate
    context: Tensor  # [B, C]
    probabilities: Tensor  # [B, n, K] of every candidate in every slot
    signals: Signals


class Recommender(tf.Module):
    """Signals -> context -> scores -> slate.

    Args:
      path: the signal path.
      fusion: modalities -> context [B, C].
      agent: an agent with `scores(context, candidates)` and `rule`.
      catalogue: for the ids.
      domain: for the event types.
      settings: the whole config: `retrieval`, `ranking` and `export` are read.
      scratch: a folder for the vocabulary file that the export copies.
    """

    def __init__(
        self,
        path: SignalPath,
        fusion: Any,
        agent: Any,
        catalogue: Catalogue,
        domain: Domain,
        settings: Any,
        scratch: Path,
    ):
        super().__init__(name="recommender")
        self.path, self.fusion, self.agent = path, fusion, agent
        self.items = ItemVocabulary(catalogue.item_ids, scratch / VOCABULARY)
        self.events = SmallVocabulary(domain.events)
        self.settings = settings
        self.version = tf.Variable(0, trainable=False, dtype=tf.int64, name="version")  # what `model_version` says

    def answer(
        self,
        history: History,
        request_time: Tensor,
        embedding: Tensor,
        has_text: Tensor,
        exclude: Tensor,
        slots: Tensor | int,
        request_id: Tensor,
        bounds: Tensor | None = None,
        attributes: Tensor | None = None,
        read: Read | None = None,
    ) -> Answer:
        """Decides on item indices; evaluation and export both end here.

        Args:
          history: [B, T], padded on the right.
          request_time: [B] int64 seconds, 0 unknown.
          embedding: [B, D].
          has_text: [B] bool.
          exclude: [B, X] item indices, 0 where unused.
          slots: n, how many slots to fill, at most K.
          request_id: [B] string, "" = greedy.
          bounds: [B, 2] least and most price, 0 = none.
          attributes: [B, A] string, see `SignalPath`.
          read: what was read of the history, where it was.
        """
        ranking = self.settings.ranking
        num_candidates = self.settings.retrieval.candidates
        signals = self.path(
            history, request_time, embedding, has_text, exclude, num_candidates, bounds, attributes, read
        )
        context = self.fusion(signals.modalities)
        candidates = signals.candidates
        scores, rule = scores_and_rule(self.agent, context, candidates)
        slots = tf.minimum(slots, tf.shape(candidates.item_ids)[1])
        positions, propensities, probabilities = fill_slate(
            scores,
            candidates.allowed,
            slots,
            rule,
            ranking.exploration_floor,
            ranking.explore_top,
            uniforms(request_id, slots),
            tf.equal(request_id, ""),
        )
        filled = positions >= 0
        at = tf.maximum(positions, 0)
        slate = Slate(
            tf.where(filled, tf.gather(candidates.item_ids, at, batch_dims=1), 0),
            tf.where(filled, tf.gather(scores, at, batch_dims=1), float("-inf")),
            tf.where(filled, propensities, 0.0),
        )
        return Answer(slate, context, probabilities, signals)

    def read(
        self, history: History, request_time: Tensor, embedding: Tensor, has_text: Tensor
    ) -> tuple[Read, Views | None, list[Tensor]]:
        """Reads a request once for `answer` and for `because`; None where `because` must read copies of the history.

        The recurrence takes longest, so it is begun first: all else may wait for the tensors that are returned last.
        """
        behaviour, towers = self.path.behaviour, self.path.towers
        if not behaviour.one_pass:
            query = towers.query(history, request_time, embedding, has_text)
            return (behaviour.signals(history, request_time), query), None, []
        left = leave_out(history, self.settings.retrieval.explain, request_time)
        signals, without, begun = behaviour.signals_without(history, left)
        with tf.control_dependencies([begun]):
            later = _waiting(history)
        of_towers = towers.query_without(later, left, embedding, has_text)
        return (signals, of_towers[:, -1]), Views(left, without, of_towers), [begun]

    def because(self, history: History, request_time: Tensor, answer: Answer, views: Views | None = None) -> Tensor:
        """[B, n, 3] history items without which the slate's items would score least (exact leave-one-out)."""
        slate, queries = answer.slate.item_ids, answer.signals.queries
        if views is None:
            last = self.settings.retrieval.explain
            lost, left_out = drops_by_copies(self.path, queries, history, request_time, slate, last)
        else:
            lost, left_out = drops(self.path, queries, history, slate, views), views.left.item
        return strongest(lost * tf.cast(slate > 0, tf.float32)[:, None, :], left_out)

    def indexed_history(self, request: Request) -> History:
        """Strings to indices: strangers are left out, the rest moved to the left, width cut to the longest."""
        item = self.items.indices(request.history)
        item = tf.where(item > 1, item, 0)
        event = self.events.indices(request.history_event)
        order = tf.argsort(tf.cast(item == 0, tf.int32), axis=1, stable=True)
        width = tf.maximum(tf.reduce_max(tf.reduce_sum(tf.cast(item > 0, tf.int32), axis=1)), 1)
        known = tf.gather(item, order, batch_dims=1) > 0

        def moved(values: Tensor) -> Tensor:
            ordered = tf.gather(values, order, batch_dims=1)
            return tf.where(known, ordered, tf.zeros_like(ordered))[:, :width]

        return History(moved(item), moved(event), moved(request.history_time))

    def decide(self, request: Request, embedding: Tensor, has_text: Tensor) -> dict[str, Tensor]:
        """The outputs of the `decide` signature, by name.

        Args:
          request: strings as they come.
          embedding: [B, D], or [B, D + 2] with price bounds, as `encode_text` gives it.
          has_text: [B] bool.
        """
        embedding, bounds = split_bounds(embedding, self.path.text.dim)
        bounds = tf.where(has_text[:, None], bounds, 0.0)
        history = self.indexed_history(request)
        slots = tf.maximum(tf.reduce_max(request.k), 1)  # one slot is filled even where none is wanted
        read, views, begun = self.read(history, request.request_time, embedding, has_text)
        with tf.control_dependencies(begun):
            later, excluded = _waiting(history), tf.identity(request.exclude)
        exclude = self.items.indices(excluded)
        answer = self.answer(
            later, request.request_time, embedding, has_text, exclude, slots, request.request_id, bounds,
            request.attributes, read,
        )  # fmt: skip
        reasons = self.because(later, request.request_time, answer, views)
        return {
            **self._shown(answer, reasons, request.k),
            **self._said(answer.signals, has_text),
            **self._logged(answer),
        }

    def _shown(self, answer: Answer, reasons: Tensor, k: Tensor) -> dict[str, Tensor]:
        """The slate as strings, each row cut to its own k."""
        slate = answer.slate
        inside = tf.range(tf.shape(slate.item_ids)[1])[None, :] < k[:, None]  # [B, n]
        shown = {
            "item_ids": tf.where(inside, self.items.ids(slate.item_ids), ""),
            "scores": tf.where(inside, slate.scores, float("-inf")),
            "propensities": tf.where(inside, slate.propensities, 0.0),
            "because": tf.where(inside[..., None], self.items.ids(reasons), ""),
        }
        width = tf.maximum(tf.reduce_max(k), 0)
        cut = {name: values[:, :width] for name, values in shown.items()}
        return cut | {"model_version": tf.fill([tf.shape(k)[0]], tf.strings.as_string(self.version))}

    def _said(self, signals: Signals, has_text: Tensor) -> dict[str, Tensor]:
        """What the utterance says; "" and 0 where there is none."""
        text = self.path.text
        intent = _best("intent", signals.text.intent, text.intents, has_text)
        unheard = has_text & ~text.known_intent_of(signals.text.embedding, has_text)
        return {
            **intent,
            "intent": tf.where(unheard, NO_INTENT, intent["intent"]),
            **_best("emotion", signals.text.emotion, text.emotions, has_text),
            "sentiment": _best("sentiment", signals.text.sentiment, SENTIMENTS, has_text)["sentiment"],
        }

    def _logged(self, answer: Answer) -> dict[str, Tensor]:
        """What a decision log needs to learn from this decision later."""
        candidates = answer.signals.candidates
        return {
            "context": answer.context,
            "candidate_ids": self.items.ids(tf.where(candidates.allowed, candidates.item_ids, 0)),
            "features": candidates.features,
            "slot_probabilities": answer.probabilities,
        }

    def encode(self, ids: Tensor, mask: Tensor, has_text: Tensor) -> Tensor:
        """[B, D or D + 2] of `encode_request`, computed for the rows with text only, zero in the others."""
        rows = tf.where(has_text)  # [R, 1]
        wanted_ids, wanted_mask = tf.boolean_mask(ids, has_text), tf.boolean_mask(mask, has_text)
        width = self.path.text.request_dim
        encoded = tf.cond(
            tf.shape(rows)[0] > 0,
            lambda: tf.cast(self.path.text.encode_request(wanted_ids, wanted_mask), tf.float32),
            lambda: tf.zeros([0, width]),
        )
        shape = tf.cast(tf.stack([tf.shape(ids)[0], width]), tf.int64)
        return tf.ensure_shape(tf.scatter_nd(rows, encoded, shape), [None, width])

    def recommend(self, request: Request, utterance: Tensor) -> dict[str, Tensor]:
        """The outputs of `serving_default`: `decide` behind tokenizer and encoder.

        Args:
          request: strings as they come.
          utterance: [B] string, "" = none.
        """
        utterance = tf.strings.strip(utterance)
        has_text = tf.not_equal(utterance, "")
        ids, mask = self.path.text.tokenize(utterance)
        outputs = self.decide(request, self.encode(ids, mask, has_text), has_text)
        return {name: outputs[name] for name in SERVED}


NO_INTENT = "none"  # where the evidence is for none of the intents; its probability is that of the likeliest one
SERVED = (
    "item_ids", "scores", "propensities", "intent", "emotion", "sentiment", "intent_probability", "emotion_probability",
    "because", "model_version",
)  # fmt: skip
LOGGED = ("context", "candidate_ids", "features", "slot_probabilities")


def _waiting(history: History) -> History:
    """The same history, there when the tensors are on which what is made now depends."""
    return History(*(tf.identity(values) for values in history))


def _best(name: str, probabilities: Tensor, labels: Sequence[str], has_text: Tensor) -> dict[str, Tensor]:
    """The most probable label and its probability, "" and 0 where there is no text."""
    label = tf.gather(tf.constant(list(labels)), tf.argmax(probabilities, axis=1))
    return {
        name: tf.where(has_text, label, ""),
        f"{name}_probability": tf.where(has_text, tf.reduce_max(probabilities, axis=1), 0.0),
    }
