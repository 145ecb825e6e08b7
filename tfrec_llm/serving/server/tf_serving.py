"""One TensorFlow Serving as the server sees it: `tokenize`, `encode_text` and `decide` over gRPC."""

import time
from collections.abc import Mapping, Sequence
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
TRIES = 2  # where a version is replaced between two calls
PASSING = {  # what the same request may not meet a moment later
    grpc.StatusCode.UNAVAILABLE: "it cannot be reached",
    grpc.StatusCode.DEADLINE_EXCEEDED: "it took longer than serving.timeout_ms",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "too many requests wait there",
    grpc.StatusCode.NOT_FOUND: "it does not have this version",
    grpc.StatusCode.FAILED_PRECONDITION: "it does not have this version",
    grpc.StatusCode.CANCELLED: "the request was given up",
}


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
        self._widths: dict[str, int] = {}
        self._dim, self.facts = 0, None

    async def look(self) -> Facts:
        """What is served now; a version that is new to us is asked one question of each kind.

        Raises:
          ModelUnavailableError: it does not answer, or has no such version.
          AnswerError: what it serves is no export of ours.
        """
        request = messages.load().metadata.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._address(request.model_spec)
        answer = await self._call(self._stub.GetModelMetadata, request)
        version = str(answer.model_spec.version.value)
        if self.facts is not None and self.facts.version == version:
            return self.facts
        self._widths = _widths(answer)
        embedding, _ = await self._embed(["warm"])
        self._dim = embedding.shape[1]
        outputs, _ = await self._ask([vars(Ask())], np.zeros((1, self._dim), np.float32), np.zeros(1, bool))
        widths = (self._widths[name] for name in ("history", "attributes", "exclude"))
        candidates = outputs["candidate_ids"].shape[1]
        self.facts = Facts(version, version, *widths, candidates, "TensorFlow Serving")
        return self.facts

    async def decide(self, asks: Sequence[Ask]) -> tuple[list[Decided], dict[str, float]]:
        """Answers of a batch, and the seconds that each part took.

        Raises:
          AnswerError: the model failed on the batch.
          ModelUnavailableError: it does not answer now.
        """
        for _ in range(TRIES):
            if decided := await self._decide(asks):
                return decided
        raise ModelUnavailableError("TensorFlow Serving: its versions change; ask again in a moment")

    async def close(self) -> None:
        """Ends the channel."""
        await self._channel.close()

    async def _decide(self, asks: Sequence[Ask]) -> tuple[list[Decided], dict[str, float]] | None:
        """None where one version made the embeddings, and another one decided."""
        rows, began = [vars(ask) for ask in asks], time.perf_counter()
        spoken = [place for place, ask in enumerate(asks) if ask.utterance.strip()]
        embedding, has_text = np.zeros((len(rows), self._dim), np.float32), np.zeros(len(rows), bool)
        heard_by = set()
        if spoken:
            embedding[spoken], heard_by = await self._embed([asks[place].utterance for place in spoken])
            has_text[spoken] = True
        encoded = time.perf_counter()
        outputs, version = await self._ask(rows, embedding, has_text)
        if heard_by - {version}:
            return None
        seconds = {"encode": encoded - began, "decide": time.perf_counter() - encoded}
        arrays = {
            "context": outputs["context"],
            "features": outputs["features"][:, : self._settings.log_candidates],
            "embedding": embedding,
        }
        head = {"rows": lists_of(outputs), "has_text": has_text}
        return [decided_row(place, ask.k, head, arrays) for place, ask in enumerate(asks)], seconds

    async def _embed(self, utterances: Sequence[str]) -> tuple[np.ndarray, set[int]]:
        """Embeddings [R, D], and the versions that made them."""
        tokens, first = await self._predict("tokenize", {"utterance": np.array(utterances, object)})
        vectors, second = await self._predict("encode_text", tokens)
        return vectors["embedding"], {first, second}

    async def _ask(
        self, rows: Sequence[Mapping[str, Any]], embedding: np.ndarray, has_text: np.ndarray
    ) -> tuple[dict[str, np.ndarray], int]:
        inputs = inputs_of(rows, self._widths)
        return await self._predict("decide", {**inputs, "embedding": embedding, "has_text": has_text}, HEARD)

    async def _predict(
        self, signature: str, inputs: Mapping[str, np.ndarray], wanted: Sequence[str] = ()
    ) -> tuple[dict[str, np.ndarray], int]:
        """Outputs of a signature, all or the wanted ones, and the version that gave them."""
        request = messages.load().predict.PredictRequest(output_filter=wanted)
        self._address(request.model_spec)
        request.model_spec.signature_name = signature
        for name, values in inputs.items():
            messages.fill(request.inputs[name], values)
        answer = await self._call(self._stub.Predict, request)
        outputs = {name: messages.array(tensor) for name, tensor in answer.outputs.items()}
        return outputs, answer.model_spec.version.value

    def _address(self, spec: Any) -> None:
        spec.name, spec.version_label = NAME, self._settings.label

    async def _call(self, method: Any, request: Any) -> Any:
        try:
            return await method(request, timeout=self._settings.timeout_ms / 1000)
        except grpc.aio.AioRpcError as error:
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
