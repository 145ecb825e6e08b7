"""One TensorFlow Serving as the server sees it: `tokenize`, `encode_text` and `decide` over gRPC.

The label says which version is asked; that it has moved is seen by `look`. All calls of a batch name the version that
was looked at, so that one version hears, encodes and decides, and its widths are those that are sent.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import grpc
import numpy as np

from tfrec_llm.config import Serving
from tfrec_llm.serving.columns import HEARD, WIDE, inputs_of, lists_of
from tfrec_llm.serving.server import messages
from tfrec_llm.serving.server.asks import AnswerError, Ask, Decided, Facts, ModelUnavailableError
from tfrec_llm.serving.server.process import decided_row

NAME = "recommender"
LARGEST = 64 * 2**20  # bytes of a message
TRIES = 2  # where a version is replaced between two looks
GONE = "it does not have this version"
PASSING = {  # what the same request may not meet a moment later
    grpc.StatusCode.UNAVAILABLE: "it cannot be reached",
    grpc.StatusCode.DEADLINE_EXCEEDED: "it took longer than serving.timeout_ms",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "too many requests wait there",
    grpc.StatusCode.FAILED_PRECONDITION: GONE,
    grpc.StatusCode.CANCELLED: "the request was given up",
}


class VersionGoneError(ModelUnavailableError):
    """The version that was asked is not there any more; another one may be."""


@dataclass(frozen=True)
class _Looked:
    """A version, and what its inputs are like."""

    version: int
    widths: Mapping[str, int]  # of the inputs that are lists
    dim: int = 0  # D


class TensorFlowServing:
    """Calls over one channel; to be made where an event loop runs.

    Args:
      url: host:port of its gRPC.
      settings: `[serving]`: label, timeout_ms, log_candidates.

    Attributes:
      facts: of the version that answered last, None before `look`.
    """

    def __init__(self, url: str, settings: Serving):
        options = [(f"grpc.max_{way}_message_length", LARGEST) for way in ("send", "receive")]
        options += [("grpc.enable_http_proxy", 0), ("grpc.max_reconnect_backoff_ms", 5_000)]
        options += [("grpc.lb_policy_name", "round_robin")]  # over all addresses of a name
        self._channel = grpc.aio.insecure_channel(url, options=options)
        self._stub = messages.load().service.PredictionServiceStub(self._channel)
        self._url, self._settings = url, settings
        self._looked: _Looked | None = None
        self.facts: Facts | None = None

    async def look(self) -> Facts:
        """What is served now; a version that is new to us is asked one question of each kind.

        Raises:
          ModelUnavailableError: it does not answer, or has no such version.
          AnswerError: what it serves is no export of ours.
        """
        request = messages.load().metadata.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name, request.model_spec.version_label = NAME, self._settings.label
        answer = await self._call(self._stub.GetModelMetadata, request)
        version = answer.model_spec.version.value
        if self._looked is not None and self._looked.version == version:
            return self.facts
        looked = _Looked(version, _widths(answer))
        looked = replace(looked, dim=(await self._embed(["warm"], looked)).shape[1])
        outputs = await self._ask([vars(Ask())], np.zeros((1, looked.dim), np.float32), np.zeros(1, bool), looked)
        widths = (looked.widths[name] for name in ("history", "attributes", "exclude"))
        candidates = outputs["candidate_ids"].shape[1]
        self._looked = looked
        self.facts = Facts(str(version), str(version), *widths, candidates, "TensorFlow Serving")
        return self.facts

    async def decide(self, asks: Sequence[Ask]) -> tuple[list[Decided], dict[str, float]]:
        """Answers of a batch, and the seconds that each part took.

        Raises:
          AnswerError: the model failed on the batch.
          ModelUnavailableError: it does not answer now.
        """
        for _ in range(TRIES):
            try:
                return await self._decide(asks, self._looked)
            except VersionGoneError:
                await self.look()
        raise ModelUnavailableError("TensorFlow Serving: its versions change; ask again in a moment")

    async def close(self) -> None:
        """Ends the channel."""
        await self._channel.close()

    async def _decide(self, asks: Sequence[Ask], looked: _Looked) -> tuple[list[Decided], dict[str, float]]:
        rows, began = [vars(ask) for ask in asks], time.perf_counter()
        spoken = [place for place, ask in enumerate(asks) if ask.utterance.strip()]
        embedding, has_text = np.zeros((len(rows), looked.dim), np.float32), np.zeros(len(rows), bool)
        if spoken:
            embedding[spoken] = await self._embed([asks[place].utterance for place in spoken], looked)
            has_text[spoken] = True
        encoded = time.perf_counter()
        outputs = await self._ask(rows, embedding, has_text, looked)
        seconds = {"encode": encoded - began, "decide": time.perf_counter() - encoded}
        arrays = {
            "context": outputs["context"],
            "features": outputs["features"][:, : self._settings.log_candidates],
            "embedding": embedding,
        }
        head = {"rows": lists_of(outputs), "has_text": has_text}
        return [decided_row(place, ask.k, head, arrays) for place, ask in enumerate(asks)], seconds

    async def _embed(self, utterances: Sequence[str], looked: _Looked) -> np.ndarray:
        """Embeddings [R, D]."""
        tokens = await self._predict("tokenize", {"utterance": np.array(utterances, object)}, looked)
        return (await self._predict("encode_text", tokens, looked))["embedding"]

    async def _ask(
        self, rows: Sequence[Mapping[str, Any]], embedding: np.ndarray, has_text: np.ndarray, looked: _Looked
    ) -> dict[str, np.ndarray]:
        inputs = {**inputs_of(rows, looked.widths), "embedding": embedding, "has_text": has_text}
        return await self._predict("decide", inputs, looked, HEARD)

    async def _predict(
        self, signature: str, inputs: Mapping[str, np.ndarray], looked: _Looked, wanted: Sequence[str] = ()
    ) -> dict[str, np.ndarray]:
        """Outputs of a signature of the version that was looked at, all or the wanted ones."""
        request = messages.load().predict.PredictRequest(output_filter=wanted)
        request.model_spec.name, request.model_spec.version.value = NAME, looked.version
        request.model_spec.signature_name = signature
        for name, values in inputs.items():
            messages.fill(request.inputs[name], values)
        answer = await self._call(self._stub.Predict, request)
        return {name: messages.array(tensor) for name, tensor in answer.outputs.items()}

    async def _call(self, method: Any, request: Any) -> Any:
        try:
            return await method(request, timeout=self._settings.timeout_ms / 1000)
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                raise VersionGoneError(f"TensorFlow Serving: {GONE}; ask again in a moment") from error
            if reason := PASSING.get(error.code()):
                raise ModelUnavailableError(f"TensorFlow Serving: {reason}; ask again in a moment") from error
            raise AnswerError(f"TensorFlow Serving failed on a request ({error.code().name})") from error


def _widths(answer: Any) -> dict[str, int]:
    """Input of `decide` -> its width, for those that are lists."""
    signatures = messages.load().metadata.SignatureDefMap()
    answer.metadata["signature_def"].Unpack(signatures)
    inputs = signatures.signature_def["decide"].inputs
    if not set(WIDE) <= set(inputs):
        raise AnswerError("TensorFlow Serving: expected an export of `make export`, got another model")
    return {name: inputs[name].tensor_shape.dim[1].size for name in WIDE}
