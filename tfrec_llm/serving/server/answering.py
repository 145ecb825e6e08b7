"""The model side of the worker process: rows of plain values -> tokenize, encode, `decide` -> rows of plain values."""

import functools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  (its ops are in the export)

from tfrec_llm import config as configs
from tfrec_llm import text
from tfrec_llm.serving.columns import HEARD, WIDE, Row, inputs_of, lists_of
from tfrec_llm.text.encoders.bulk import precision_of
from tfrec_llm.text.encoders.engine import Engine
from tfrec_llm.text.encoders.single import PROBES, least_cosine, make_single
from tfrec_llm.training.strategy import available_cores

log = logging.getLogger(__name__)


class Answering:
    """A loaded export and what encodes utterances for it.

    Args:
      model: the SavedModel.
      encode: ids [R, L], mask [R, L] -> embeddings [R, D], tensors, in a graph; None = the export's own `encode_text`.
      log_candidates: candidates whose features are handed back.

    Attributes:
      widths: of the inputs that are lists.
      candidates: K.
      engine: what encodes utterances.
    """

    def __init__(self, model: Any, encode: Callable | None, log_candidates: int):
        self._model, signatures = model, model.signatures
        self._decide, self._tokenize = signatures["decide"], signatures["tokenize"]
        self._encode_text, self._log_candidates = signatures["encode_text"], log_candidates
        spec = self._decide.structured_input_signature[1]
        self.widths = {name: spec[name].shape[1] for name in WIDE}
        self._encode, self.engine = encode or self._encode_in_export, getattr(encode, "name", "export")
        self._dim, self.candidates = getattr(encode, "dim", 0) or self._embed(tf.constant(["warm"])).shape[1], 0
        rows = {"utterance": tf.TensorSpec([None], tf.string), "place": tf.TensorSpec([None, 1], tf.int64)}
        asked = {name: tf.TensorSpec(one.shape, one.dtype) for name, one in spec.items() if name != "embedding"}
        self._hear = tf.function(self._decide_hearing, autograph=False).get_concrete_function(**rows, **asked)

    def __call__(self, rows: Sequence[Row]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Decides a batch.

        Args:
          rows: [B] asks.

        Returns:
          Lists by name and the seconds of `encode` (until the utterances were vectors) and `decide` (from then on);
          and the arrays context, features and embedding.
        """
        began, clock = time.perf_counter(), time.time()
        spoken = [place for place, row in enumerate(rows) if row["utterance"].strip()]
        has_text = np.zeros(len(rows), bool)
        has_text[spoken] = True
        asked = {name: tf.constant(values) for name, values in inputs_of(rows, self.widths).items()}
        asked["has_text"] = tf.constant(has_text)
        if spoken:
            said, place = [rows[row]["utterance"] for row in spoken], np.array(spoken, np.int64)[:, None]
            outputs = self._hear(utterance=tf.constant(said), place=tf.constant(place), **asked)
            embedding, encoding = outputs["embedding"].numpy(), float(outputs["encoded"]) - clock
        else:
            embedding, encoding = np.zeros((len(rows), self._dim), np.float32), 0.0
            outputs = self._decide(embedding=tf.constant(embedding), **asked)
        heard = {name: outputs[name].numpy() for name in HEARD}
        self.candidates, whole = heard["candidate_ids"].shape[1], time.perf_counter() - began
        encoding = min(max(encoding, 0.0), whole)  # the clock may have been set meanwhile
        arrays = {
            "context": heard["context"].astype(np.float32),
            "features": heard["features"][:, : self._log_candidates].astype(np.float32),
            "embedding": embedding,
        }
        seconds = {"encode": encoding, "decide": whole - encoding}
        return {"rows": lists_of(heard), "has_text": has_text.tolist(), "seconds": seconds}, arrays

    def lists(self, rows: Sequence[Row]) -> dict[str, list]:
        """The outputs of a batch that are lists, by name."""
        return self(rows)[0]["rows"]

    def policy(self) -> dict[str, np.ndarray]:
        """The values that learning changes, by the names of `bundle.read_policy`."""
        return {f"policy/{place}": variable.numpy() for place, variable in enumerate(self._model.policy)}

    def take_policy(self, policy: Mapping[str, np.ndarray], version: int) -> None:
        """Answers by another policy from now on.

        Args:
          policy: values by the names of `bundle.read_policy`.
          version: what `model_version` says.

        Raises:
          ValueError: values that do not fit.
        """
        variables = {f"policy/{place}": variable for place, variable in enumerate(self._model.policy)}
        if {n: tuple(v.shape) for n, v in variables.items()} != {n: np.shape(v) for n, v in policy.items()}:
            raise ValueError(
                f"version {version}: expected {len(variables)} variables of the loaded policy, got others."
            )
        for name, value in policy.items():
            variables[name].assign(value)
        self._model.version.assign(version)

    def _decide_hearing(
        self, utterance: tf.Tensor, place: tf.Tensor, has_text: tf.Tensor, **asked: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """`decide` in one graph with what it hears, so that the history is read while utterances are encoded.

        Args:
          utterance: [R] string.
          place: [R, 1] int64, the rows that say them.
          has_text: [B] bool.
          asked: the other inputs of `decide`.

        Returns:
          What is heard of `decide`, `embedding` [B, D], and `encoded`, when it was there, in seconds since 1970.
        """
        shape = tf.cast(tf.stack([tf.shape(has_text)[0], self._dim]), tf.int64)
        embedding = tf.ensure_shape(tf.scatter_nd(place, self._embed(utterance), shape), [None, self._dim])
        with tf.control_dependencies([embedding]):
            encoded = tf.timestamp()
        outputs = self._decide(embedding=embedding, has_text=has_text, **asked)
        return {**{name: outputs[name] for name in HEARD}, "embedding": embedding, "encoded": encoded}

    def _embed(self, utterance: tf.Tensor) -> tf.Tensor:
        """[R] string -> [R, D]."""
        tokens = self._tokenize(utterance=utterance)
        longest = tf.reduce_sum(tf.cast(tf.reduce_any(tokens["mask"], axis=0), tf.int32))
        longest = tf.maximum(longest, 2)  # the rest of the fixed width is padding
        return self._encode(tokens["ids"][:, :longest], tokens["mask"][:, :longest])

    def _encode_in_export(self, ids: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        return self._encode_text(ids=ids, mask=mask)["embedding"]


class TokenEncoder(tf.Module):
    """A text model's tokens as the encoder that an engine takes: all of its products, and no string.

    Args:
      model: a `text.TextModel`.
    """

    def __init__(self, model: text.TextModel):
        super().__init__(name="token_encoder")
        self._encoder, self.bert = model.encoder, getattr(model.encoder, "bert", None)
        self.fingerprint = model.encoder.fingerprint

    def encode(self, ids: tf.Tensor, mask: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
        """ids, mask [B, L] -> [B, L, D] float32."""
        return self._encoder.tokens(ids, mask, dtype)


class RequestEncoder:
    """Utterances encoded by an engine, their price bounds read by TensorFlow.

    Args:
      model: a `text.TextModel`.
      engine: a name of `text.encoders.engine`.
      dtype: what the engine's products are computed in.
      threads: of the engine.
      rounded: eight-bit weights are wanted, where they are good enough.

    Attributes:
      name: of the engine that was had.
      dim: how many numbers an utterance becomes.
    """

    def __init__(
        self,
        model: text.TextModel,
        engine: str,
        dtype: tf.DType = tf.float32,
        threads: int = 0,
        rounded: bool = False,
    ):
        cosine = functools.partial(_least_cosine, model) if rounded else None
        self._model, self._engine = model, make_single(TokenEncoder(model), engine, dtype, threads, cosine)
        self.name, self.dim = self._engine.name, model.request_dim
        self._thread = ThreadPoolExecutor(1, "encode")  # OpenVINO ends the process where one of TensorFlow's asks it

    def __call__(self, ids: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """ids, mask [B, L] -> [B, D or D + 2] float32, as of `TextModel.encode_request`; in a graph too."""
        tokens = tf.numpy_function(self._tokens, [ids, mask], tf.float32, stateful=False)
        return self._model.request_of(ids, mask, tf.ensure_shape(tokens, [None, None, self._model.dim]))

    def _tokens(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return self._thread.submit(self._engine, ids.copy(), mask.copy()).result()


def _least_cosine(model: text.TextModel, engine: Engine) -> float:
    """Of the embeddings that an engine's tokens give, to the model's own."""
    ids, mask = model.tokenize(tf.constant(PROBES))
    longest = int(tf.reduce_max(tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)))  # the rest is padding
    ids, mask = ids[:, :longest], mask[:, :longest]
    ours = model.request_of(ids, mask, tf.constant(engine(ids.numpy(), mask.numpy())))
    return least_cosine(ours[:, : model.dim].numpy(), model.encode(ids, mask).numpy())


def load(folder: Path, run: Path, engine: str, threads: int, log_candidates: int) -> Answering:
    """An export, ready to answer: one row without and one with an utterance have been asked.

    Args:
      folder: the version's folder.
      run: the run folder, whose encoder the engine takes.
      engine: `export`, or a name of `text.encoders.engine`; where the run's encoder cannot be had, the export encodes.
      threads: of the engine; 0 = the cores of this process but one, on which the history is read meanwhile.
      log_candidates: candidates whose features are handed back.

    Raises:
      ValueError: no SavedModel of ours.
    """
    try:
        with ThreadPoolExecutor(1) as beside:
            encoder = beside.submit(_fast, run, engine, threads)
            model = tf.saved_model.load(str(folder))
            answering = Answering(model, encoder.result(), log_candidates)
    except (OSError, KeyError, tf.errors.OpError) as error:
        raise ValueError(f"{folder}: expected an export of `make export`, got: {error}.") from error
    blank = {"user_id": "", "request_time": 0, "k": 10, **{name: [] for name in WIDE}}
    for utterance in ("", "warm"):
        answering([{**blank, "request_id": "warm", "utterance": utterance}])
    return answering


def _fast(run: Path, engine: str, threads: int) -> Callable | None:
    """The run's encoder in an engine, None where the export is to encode."""
    if engine == "export":
        return None
    try:
        config = configs.load(run / "config.toml")
        model, threads = text.load(config, run / "text"), threads or max(available_cores() - 1, 1)
        made = RequestEncoder(
            model, engine, tf.as_dtype(precision_of(config.text)), threads, rounded=config.text.precision == "auto"
        )
    except (ValueError, OSError) as error:
        log.warning("the run's encoder cannot be loaded (%s): the export encodes utterances.", error)
        return None
    log.info("utterances are encoded by %s, precision %s", made.name, config.text.precision)
    return made
