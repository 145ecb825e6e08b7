"""What a TensorFlow Serving reads beside the SavedModel: the records are requests that the export answers."""

import re

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tfrec_llm.serving import warm_up

SIGNATURES = {"serving_default", "decide", "tokenize", "encode_text"}


@pytest.fixture(scope="module")
def signatures(smoke_run):
    return tf.saved_model.load(str(smoke_run / "export" / "1")).signatures


@pytest.fixture(scope="module")
def requests(smoke_run):
    records = tf.data.TFRecordDataset(str(smoke_run / "export" / "1" / warm_up.RECORDS)).as_numpy_iterator()
    logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    return [log.predict_log.request for log in logs]


def inputs_of(request):
    return {name: tf.make_ndarray(value) for name, value in request.inputs.items()}


def test_the_export_answers_every_record(requests, signatures):
    for request in requests:
        inputs = {name: tf.constant(values) for name, values in inputs_of(request).items()}
        size = len(next(iter(inputs.values())))
        outputs = signatures[request.model_spec.signature_name](**inputs)
        assert {len(values) for values in outputs.values()} == {size}


def test_every_signature_is_warmed_at_every_size_silent_and_spoken(requests):
    asked = {name: set() for name in SIGNATURES}
    for request in requests:
        inputs = inputs_of(request)
        said = inputs.get("has_text", inputs.get("utterance", inputs.get("mask"))).astype(bool).any()
        asked[request.model_spec.signature_name].add((len(next(iter(inputs.values()))), bool(said)))
    both = {(size, said) for size in warm_up.SIZES for said in (False, True)}
    assert asked["serving_default"] == asked["decide"] == both
    assert asked["tokenize"] == asked["encode_text"] == {(size, True) for size in warm_up.SIZES}
    assert len(requests) <= 1000  # as many as a TensorFlow Serving takes


def test_the_largest_allowed_batch_is_the_largest_batch(smoke_run):
    text = (smoke_run / "export" / warm_up.BATCHING).read_text("utf-8")
    allowed = [int(size) for size in re.findall(r"^allowed_batch_sizes: (\d+)$", text, re.MULTILINE)]
    assert allowed == sorted(warm_up.SIZES)
    assert f"max_batch_size {{ value: {allowed[-1]} }}" in text


def test_tokens_have_one_width_whatever_is_said_and_padding_changes_no_embedding(signatures):
    def embedded(texts, cut=None):
        tokens = signatures["tokenize"](utterance=tf.constant(texts))
        rows = {name: value[:, :cut] for name, value in tokens.items()}
        return tokens["ids"].shape[1], signatures["encode_text"](**rows)["embedding"].numpy()

    (short, alone), (long, together) = embedded(["sad"]), embedded(["sad", "a long film about nothing at all " * 5])
    assert short == long == signatures["tokenize"].structured_outputs["ids"].shape[1]
    np.testing.assert_allclose(together[0], alone[0], atol=1e-5)
    np.testing.assert_allclose(embedded(["sad"], 8)[1], alone, atol=1e-5)
