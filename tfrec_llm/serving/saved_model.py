"""The SavedModel: signatures of the design, written whole or not at all."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrec_llm.config import Export
from tfrec_llm.serving import bundle
from tfrec_llm.serving.columns import WIDE, Row, inputs_of
from tfrec_llm.serving.golden import write_golden
from tfrec_llm.serving.manifest import write_manifest
from tfrec_llm.serving.recommender import Recommender, Request
from tfrec_llm.serving.reference import write_reference
from tfrec_llm.serving.versions import newest_version, promote, try_out
from tfrec_llm.serving.warm_up import write_batching, write_warm_up
from tfrec_llm.types import Tensor

MAX_GRAPH_BYTES = 64 * 2**20
AT_ONCE = 16  # requests that an export is asked together


class Beside(NamedTuple):
    """What travels with a model, for those who serve it and learn from it."""

    golden: Sequence[Row] = ()  # requests that every version must be able to answer, see `golden.golden_rows`
    typical: Sequence[Row] = ()  # requests whose answers are the reference of drift, see `reference.typical_rows`
    fusion: str = ""  # fingerprint of the fusion, see `manifest.fusion_of`
    items: str = ""  # of the items that were added after the training, see `manifest.items_of`


class _Lean(tf.Module):
    """What the signatures hold on to, and nothing else: variables, tokenizer, tables.

    Saving the recommender itself would trace every Keras model in it once more, for functions that nobody calls.
    """

    def __init__(self, recommender: Recommender):
        super().__init__(name="recommender")
        self.policy, self.version = list(recommender.agent.network.variables), recommender.version
        own = {id(variable) for variable in (*self.policy, self.version)}
        self.weights = [variable for variable in recommender.variables if id(variable) not in own]
        self.tokenizer = recommender.path.text.encoder
        self.items, self.events, self.users = recommender.items, recommender.events, recommender.path.users


def export(recommender: Recommender, folder: Path, settings: Export, beside: Beside | None = None) -> Path:
    """Writes the next version of the SavedModel.

    Args:
      recommender: what answers.
      folder: the export folder; the version is a new integer below it.
      settings: widths of history, attributes and exclude.
      beside: what else goes into the folder.

    Returns:
      The version's folder. It appears under its name only when all of it is on disk.

    Raises:
      ValueError: the encoder cannot be in a SavedModel, or the graph is larger than 64 MB (constants that should be
        variables).
      OSError: the disk is full; earlier versions are left as they were.
    """
    beside = beside or Beside()
    if obstacle := recommender.path.text.encoder.export_obstacle:
        raise ValueError(f"export: expected an encoder of TensorFlow operations alone, got another: {obstacle}.")
    version = newest_version(folder) + 1
    recommender.version.assign(version)
    partial = folder / f".{version}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        functions = signatures(recommender, settings)
        tf.saved_model.save(_Lean(recommender), str(partial), signatures=functions)
        _check_size(partial / "saved_model.pb")
        bundle.divide(partial)
        write_golden(partial, beside.golden, lambda rows: _ask(functions["serving_default"], rows))
        if beside.typical:
            write_reference(partial, _ask(functions["serving_default"], beside.typical))
        write_warm_up(partial, functions, recommender.items.some(3), settings)
        write_manifest(partial, version, fusion=beside.fusion, items=beside.items)
        os.replace(partial, folder / str(version))
        write_batching(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    promote(folder, version)
    return folder / str(version)


def export_policy(source: Path, policy: Mapping[str, np.ndarray]) -> Path:
    """Writes the next version of a SavedModel that differs in its policy alone; seconds, and a few MB, less.

    Args:
      source: the version's folder that it starts from.
      policy: values by the names of `bundle.read_policy`.

    Returns:
      The new version's folder, labelled canary.

    Raises:
      ValueError: the values do not fit.
      OSError: the disk is full; earlier versions are left as they were.
    """
    folder = source.parent
    version = newest_version(folder) + 1
    partial = folder / f".{version}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        bundle.replace_policy(source, partial, policy, version)
        write_manifest(partial, version, source)
        os.replace(partial, folder / str(version))
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    try_out(folder, version)
    return folder / str(version)


def _ask(serve: Callable, rows: Sequence[Row]) -> dict[str, list]:
    """Slates of requests, as lists; some at a time, since reasons in a basket domain read twenty copies of each."""
    parts = [_ask_some(serve, rows[start : start + AT_ONCE]) for start in range(0, len(rows), AT_ONCE)]
    return {name: [one for part in parts for one in part[name]] for name in parts[0]}


def _ask_some(serve: Callable, rows: Sequence[Row]) -> dict[str, list]:
    spec = serve.structured_input_signature[1]
    inputs = inputs_of(rows, {name: spec[name].shape[1] for name in WIDE})
    said = np.array([row["utterance"] for row in rows], object)
    outputs = serve(utterance=tf.constant(said), **{name: tf.constant(value) for name, value in inputs.items()})
    items = [[item.decode() for item in slate] for slate in outputs["item_ids"].numpy().tolist()]
    numbers = {name: outputs[name].numpy().tolist() for name in ("scores", "propensities")}
    return {"item_ids": items, "intent": [label.decode() for label in outputs["intent"].numpy().tolist()], **numbers}


def signatures(recommender: Recommender, settings: Export) -> dict[str, Callable]:
    """name -> concrete function, for `tf.saved_model.save`.

    Args:
      recommender: what answers.
      settings: widths T, A, X of the fixed inputs.
    """
    request, spec = _request_spec(settings), tf.TensorSpec
    longest = recommender.path.text.max_tokens
    utterance = spec([None], tf.string, "utterance")
    text = {"ids": spec([None, None], tf.int32, "ids"), "mask": spec([None, None], tf.bool, "mask")}
    vector = {
        "embedding": spec([None, None], tf.float32, "embedding"),  # D, or D + 2 as encode_text gives it
        "has_text": spec([None], tf.bool, "has_text"),
    }

    def serve(utterance: Tensor, **inputs: Tensor) -> dict[str, Tensor]:
        return recommender.recommend(Request(**inputs), utterance)

    def decide(embedding: Tensor, has_text: Tensor, **inputs: Tensor) -> dict[str, Tensor]:
        return recommender.decide(Request(**inputs), embedding, has_text)

    def tokenize(utterance: Tensor) -> dict[str, Tensor]:
        ids, mask = recommender.path.text.tokenize(tf.strings.strip(utterance))
        return {"ids": _widened(ids, longest), "mask": _widened(mask, longest)}

    def encode_text(ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        width = tf.maximum(tf.reduce_max(tf.where(mask, tf.range(tf.shape(mask)[1]) + 1, 0)), 2)
        ids, mask = ids[:, :width], mask[:, :width]
        return {"embedding": tf.cast(recommender.path.text.encode_request(ids, mask), tf.float32)}

    return {
        "serving_default": tf.function(serve).get_concrete_function(utterance=utterance, **request),
        "decide": tf.function(decide).get_concrete_function(**vector, **request),
        "tokenize": tf.function(tokenize).get_concrete_function(utterance),
        "encode_text": tf.function(encode_text).get_concrete_function(**text),
    }


def _request_spec(settings: Export) -> dict[str, tf.TensorSpec]:
    widths = {
        "history": (settings.max_history, tf.string),
        "history_event": (settings.max_history, tf.string),
        "history_time": (settings.max_history, tf.int64),
        "attributes": (settings.max_attributes, tf.string),
        "exclude": (settings.max_exclude, tf.string),
    }
    rows = {"request_id": tf.string, "user_id": tf.string, "request_time": tf.int64, "k": tf.int32}
    wide = {name: tf.TensorSpec([None, width], dtype, name) for name, (width, dtype) in widths.items()}
    return wide | {name: tf.TensorSpec([None], dtype, name) for name, dtype in rows.items()}


def _widened(rows: Tensor, width: int) -> Tensor:
    """[B, L] -> [B, width], padded with 0 or False.

    A model server that puts requests together wants equal widths: where it may widen rows itself, it repeats the first
    value of a tensor, which in a mask is True.
    """
    padded = tf.pad(rows, [[0, 0], [0, width - tf.shape(rows)[1]]])
    return tf.ensure_shape(padded, [None, width])


def _check_size(graph: Path) -> None:
    size = graph.stat().st_size
    if size > MAX_GRAPH_BYTES:
        raise ValueError(
            f"{graph.name}: expected at most {MAX_GRAPH_BYTES >> 20} MB, got {size >> 20} MB: a large constant is in "
            "the graph; hold it in a tf.Variable, so that it is stored beside the graph."
        )
