"""What utterances say, span by span: for explanations, logs and tests; serving uses the same tagger in its graph."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfrec_llm.data.texts import normalise
from tfrec_llm.text.encoders.encoder import TextEncoder
from tfrec_llm.text.slots.alignment import spans_of, token_places
from tfrec_llm.text.slots.model import SlotModel
from tfrec_llm.types import Domain, Span


def extract(
    model: SlotModel, encoder: TextEncoder, domain: Domain, texts: Sequence[str], max_tokens: int = 128
) -> list[list[Span]]:
    """The spans of each text, in its order.

    The value of an attribute's span is the one whose words it is, else the one that its own embedding names most; of a
    price the value is what was said.

    Args:
      model: trained.
      encoder: that it was trained with.
      domain: for the words of values.
      texts: utterances.
      max_tokens: longer ones are cut.
    """
    ids, mask = encoder.tokenize(tf.constant(list(texts)), "query", max_tokens)
    tags = model.tags(encoder.tokens(ids, mask), mask).numpy()
    prefix, words = encoder.prefix("query"), _words(model, domain)
    found = []
    for row, text in enumerate(texts):
        pieces = [encoder.tokenizer.pieces[i] for i in ids[row].numpy()[mask[row].numpy()]]
        places = np.maximum(token_places(prefix + text, pieces) - len(prefix), 0)
        spans = [(places[a, 0], places[b - 1, 1], kind) for a, b, kind in spans_of(tags[row], model.kinds)]
        found.append([_valued(model, encoder, words, text, *span) for span in spans if span[0] < span[1]])
    return found


def _words(model: SlotModel, domain: Domain) -> Mapping[tuple[str, str], str]:
    """(attribute, way to say it) -> value."""
    words = {}
    for name, value in model.names:
        ways = [way for lists in domain.words.values() for way in lists.get(value, ())]
        words |= {(name, normalise(way)): value for way in (*ways, value)}
    return words


def _valued(
    model: SlotModel,
    encoder: TextEncoder,
    words: Mapping[tuple[str, str], str],
    text: str,
    begin: int,
    end: int,
    kind: str,
) -> Span:
    said = text[begin:end].strip()
    begin = text.index(said, begin)
    if kind not in model.heads:
        return Span(begin, begin + len(said), kind, said)
    value = words.get((kind, normalise(said)))
    if value is None:
        embedding = encoder.encode(*encoder.tokenize(tf.constant([said])))
        likely = model.heads[kind].probabilities(embedding)[0, 1:]
        value = model.values[kind][int(tf.argmax(likely))]
    return Span(begin, begin + len(said), kind, value)
