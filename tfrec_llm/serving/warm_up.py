"""What a TensorFlow Serving reads beside the SavedModel: requests that warm it up, and how it puts others together."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from tfrec_llm.config import Export
from tfrec_llm.serving.columns import WIDE, inputs_of

RECORDS = Path("assets.extra", "tf_serving_warmup_requests")
BATCHING = "batching.config"
SIZES = (1, 2, 4, 8, 16, 32)  # of batches; others are filled up to the next, so that every size that comes is warm
WAIT_MICROS = 500  # for company: a decision takes some milliseconds
THREADS = 2  # batches decided at the same time
QUEUED = 100  # batches that wait at most; whoever comes then is told to come again
TEXTS = ("手机", "something funny for tonight", "a quiet film about an old man and the sea, not too long")
Inputs = dict[str, np.ndarray]


def write_warm_up(folder: Path, signatures: Mapping[str, Callable], item_ids: Sequence[str], settings: Export) -> None:
    """Writes requests of every batch size for every signature, with and without utterances: a TFRecord file.

    Args:
      folder: a version's folder, whole but for its manifest.
      signatures: name -> function; tokens and embeddings come from those of the export itself.
      item_ids: some items, for a history.
      settings: widths of the inputs that are lists.
    """
    (folder / RECORDS).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / RECORDS)) as writer:
        for size in SIZES:
            for name, inputs in _requests(size, signatures, item_ids, settings):
                request = predict_pb2.PredictRequest()
                request.model_spec.name, request.model_spec.signature_name = "recommender", name
                for key, values in inputs.items():
                    request.inputs[key].CopyFrom(tf.make_tensor_proto(values))
                log = prediction_log_pb2.PredictLog(request=request)
                writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())


def _requests(
    size: int, signatures: Mapping[str, Callable], item_ids: Sequence[str], settings: Export
) -> Iterator[tuple[str, Inputs]]:
    """Signature and inputs of each request of one batch size."""
    asked = _asked(size, item_ids, settings)
    said = np.array([TEXTS[row % len(TEXTS)] for row in range(size)], object)
    tokens = _values(signatures["tokenize"](utterance=tf.constant(said)))
    vectors = _values(signatures["encode_text"](**{name: tf.constant(value) for name, value in tokens.items()}))
    yield "tokenize", {"utterance": said}
    yield "encode_text", tokens
    for spoken in (False, True):
        yield "serving_default", {**asked, "utterance": said if spoken else np.full(size, "", object)}
        heard = vectors["embedding"] * np.float32(spoken)
        yield "decide", {**asked, "embedding": heard, "has_text": np.full(size, spoken)}


def _asked(size: int, item_ids: Sequence[str], settings: Export) -> Inputs:
    """Rows with histories; the first of them is greedy."""
    widths = dict.fromkeys(WIDE, settings.max_history)
    widths |= {"attributes": settings.max_attributes, "exclude": settings.max_exclude}
    row = {"user_id": "", "history": item_ids, "history_event": (), "request_time": 0, "k": 10}
    row |= {"history_time": (), "attributes": (), "exclude": item_ids[:1]}
    return inputs_of([{**row, "request_id": f"warm {place}" if place else ""} for place in range(size)], widths)


def _values(outputs: Mapping[str, tf.Tensor]) -> Inputs:
    return {name: value.numpy() for name, value in outputs.items()}


def write_batching(folder: Path) -> None:
    """Writes `batching.config`, for `tensorflow_model_server --batching_parameters_file`.

    Args:
      folder: the export folder.
    """
    values = {"max_batch_size": SIZES[-1], "batch_timeout_micros": WAIT_MICROS}
    values |= {"num_batch_threads": THREADS, "max_enqueued_batches": QUEUED}
    lines = [f"{name} {{ value: {value} }}" for name, value in values.items()]
    lines += [f"allowed_batch_sizes: {size}" for size in SIZES]
    # rows of all signatures have fixed widths; a server that widens them repeats a tensor's first value, True in a mask
    lines += ["pad_variable_length_inputs: false"]
    (folder / BATCHING).write_text("\n".join(lines) + "\n", encoding="utf-8")
