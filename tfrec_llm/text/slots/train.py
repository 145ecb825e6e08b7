"""Trains the slot tagger and the value heads on sentences with known spans, and judges them on the test's phrases."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import tensorflow as tf

from tfrec_llm.config import Config, Regularise
from tfrec_llm.data.slots import PRICE_KINDS, span_utterances
from tfrec_llm.text.attributes import bare_texts
from tfrec_llm.text.classification.fit import fit_head
from tfrec_llm.text.classification.tasks import Task
from tfrec_llm.text.encoders.bulk import encode_queries, precision_of
from tfrec_llm.text.encoders.encoder import TextEncoder
from tfrec_llm.text.slots.alignment import tags_of, token_places
from tfrec_llm.text.slots.judge import Figures, judge_slots
from tfrec_llm.text.slots.model import LEVELS, PRICE, SlotModel
from tfrec_llm.training import Stage
from tfrec_llm.types import FIRST_ITEM, Catalogue, Dataset, SpanUtterances

log = logging.getLogger(__name__)


def train_slots(
    encoder: TextEncoder, dataset: Dataset, values: Mapping[str, tuple[str, ...]], config: Config, stage: Stage
) -> tuple[SlotModel | None, Figures]:
    """A slot model, where the domain and the tokenizer allow one.

    Args:
      encoder: as it will be served.
      dataset: domain and catalogue.
      values: attribute -> values that are listened for.
      config: sections text and train, and the seed.
      stage: for checkpoints and logs.

    Returns:
      The model, None where there is nothing to listen for, and figures `text.slots.*` on the test's templates and
      words: f1 of spans (kind, first and last token all right), accuracy of price bounds, micro F1 of values.
    """
    settings, domain = config.text.slots, dataset.domain
    config = _unweighted(config)
    pieces = getattr(encoder.tokenizer, "pieces", None)
    kinds = (*values, *(PRICE_KINDS if any(domain.prices.values()) else ()))
    if not settings.rows or not kinds or pieces is None:
        log.warning("text: no slots: the domain names no attribute that items share and no price, or they are off.")
        return None, {}
    said = span_utterances(dataset, values, settings.rows, config.seed)
    if PRICE_KINDS[0] in kinds:
        values = {**values, PRICE: LEVELS}
    tokens, rows, tags, lengths = tagged_tokens(encoder, said, kinds, config)
    tagging = Task("slots_tags", "slots", _tag_names(kinds), said.texts[rows], tags, said.split[rows], _corpus(rows))
    tagger = fit_head(tagging, tokens, config, stage)
    embeddings = encode_queries(encoder, config, said.texts.tolist())
    heads, targets = {}, {name: value_targets(said, name, values[name]) for name in values}
    titles, held = _item_rows(dataset.catalogue, values, settings.rows, config.seed)
    shown = encode_queries(encoder, config, titles.tolist())
    for place, name in enumerate(values):
        rows = np.flatnonzero(held[name])
        task = Task(
            f"slots_{place}",
            "slots",
            ("", *values[name]),
            np.concatenate([said.texts, titles[rows]]),
            np.concatenate([targets[name], held[name][rows]]),
            np.concatenate([said.split, np.full(len(rows), "train")]),
            _corpus(np.zeros(len(said.texts) + len(rows))),
        )
        heads[name] = fit_head(task, np.concatenate([embeddings, shown[rows]]), config, stage)
    model = SlotModel(kinds, tagger, heads, values, pieces)
    return model, judge_slots(model, said, (tokens, tags, lengths), (embeddings, targets), config.seed)


def tagged_tokens(
    encoder: TextEncoder, said: SpanUtterances, kinds: Sequence[str], config: Config
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vectors and tags of all tokens.

    Returns:
      vectors [M, D] float32, the sentence of each token [M], its tag [M] int32, tokens of each sentence [R].
    """
    size, dtype = config.text.batch_size, tf.as_dtype(precision_of(config.text))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def encode(texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        ids, mask = encoder.tokenize(texts, "query", config.text.max_tokens)
        return ids, mask, encoder.tokens(ids, mask, dtype)

    order = np.argsort([len(text) for text in said.texts], kind="stable")
    vectors, tags = [np.zeros(0)] * len(order), [np.zeros(0)] * len(order)
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        ids, mask, found = (part.numpy() for part in encode(tf.constant(said.texts[batch].tolist())))
        for row, place in enumerate(batch):
            kept = ids[row][mask[row]]
            vectors[place] = found[row][mask[row]]
            tags[place] = _tags(encoder, str(said.texts[place]), said.spans[place], kept, kinds)
    lengths = np.array([len(row) for row in tags])
    return np.concatenate(vectors), np.repeat(np.arange(len(order)), lengths), np.concatenate(tags), lengths


def value_targets(said: SpanUtterances, name: str, values: Sequence[str]) -> np.ndarray:
    """[R] int32 which value of an attribute each sentence names first, counted from 1; 0 = none."""
    found = np.zeros(len(said.texts), np.int32)
    for row, spans in enumerate(said.spans):
        for span in reversed(spans):
            if name == PRICE and span.kind in values:
                found[row] = 1 + values.index(span.kind)
            elif span.kind == name:
                found[row] = 1 + values.index(span.value)
    return found


def _tags(encoder: TextEncoder, text: str, spans: Sequence, ids: np.ndarray, kinds: Sequence[str]) -> np.ndarray:
    prefix = encoder.prefix("query")
    places = token_places(prefix + text, [encoder.tokenizer.pieces[i] for i in ids]) - len(prefix)
    return tags_of(places, spans, kinds)


def _item_rows(
    catalogue: Catalogue, values: Mapping[str, tuple[str, ...]], most: int, seed: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Titles, and whole texts without the values, as further examples of what their items are.

    They are in the catalogue's own words and languages, and many name other values in passing ("for your phone").

    Returns:
      texts [M] str, at most `most` of each kind; attribute -> [M] int32 number of the item's only value, 0 = none or
      several.
    """
    rows = np.random.default_rng([seed, 12]).permutation(np.arange(FIRST_ITEM, len(catalogue.item_ids)))[:most]
    held = {}
    for name, names in values.items():
        own = [catalogue.attributes.get(name, {row: ()})[row] for row in rows]
        one = np.array([1 + names.index(o[0]) if len(o) == 1 and o[0] in names else 0 for o in own], np.int32)
        held[name] = np.tile(one, 2)
    bare = bare_texts(catalogue, tuple(values))
    return np.array([str(catalogue.titles[row]) for row in rows] + [bare[row] for row in rows], dtype=np.str_), held


def _unweighted(config: Config) -> Config:
    """Most tokens are outside and most values are not named: weights by rarity would find spans everywhere."""
    regularise = Regularise(class_weights=False, patience=config.text.regularise.patience)
    return replace(config, text=replace(config.text, regularise=regularise))


def _tag_names(kinds: Sequence[str]) -> tuple[str, ...]:
    return ("O", *(f"{side}-{kind}" for kind in kinds for side in "BI"))


def _corpus(rows: np.ndarray) -> np.ndarray:
    return np.full(len(rows), "slots")
