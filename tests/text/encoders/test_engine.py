"""The two engines answer alike, in order, from any thread; what OpenVINO cannot read falls back with one warning."""

import threading

import numpy as np
import openvino
import pytest
import tensorflow as tf

from tfrec_llm.text.encoders import engine as engines
from tfrec_llm.text.encoders.eight_bits import round_weights
from tfrec_llm.text.encoders.engine import make_engine, resolve
from tfrec_llm.text.encoders.numeric import Numeric
from tfrec_llm.text.encoders.registry import Tiny, tiny
from tfrec_llm.text.finetuning import FINETUNING

ENGINES = ("tensorflow", "openvino")  # the lock has both


def batch(lengths, seed=0):
    ids = np.random.default_rng(seed).integers(5, 4000, (len(lengths), max(lengths))).astype(np.int32)
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    return np.where(mask, ids, 0), mask


@pytest.fixture(scope="module")
def encoder():
    return tiny(Tiny(layers=2))


@pytest.fixture(scope="module", params=ENGINES)
def engine(request, encoder):
    made = make_engine(encoder, request.param)
    assert made.name == request.param
    return made


def direct(encoder, ids, mask):
    return encoder.encode(tf.constant(ids), tf.constant(mask)).numpy()


@pytest.mark.parametrize("lengths", [[7], [3, 9, 1], [12] * 5, [2, 40]])
def test_equals_the_encoder(engine, encoder, lengths):
    ids, mask = batch(lengths)
    ours = engine(ids, mask)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, direct(encoder, ids, mask), atol=2e-6)


def test_the_dense_layers_see_no_padding(encoder, monkeypatch):
    lengths, seen = [3, 9, 1, 20], []
    ids, mask = (tf.constant(part) for part in batch(lengths))
    padded = encoder.encode(ids, mask)
    grow = encoder.bert.blocks[0].grow
    monkeypatch.setattr(encoder.bert.blocks[0], "grow", lambda x, noise: seen.append(len(x)) or grow(x, noise))
    monkeypatch.setattr(encoder.bert, "packed", True)
    np.testing.assert_allclose(encoder.encode(ids, mask), padded, atol=2e-6)
    assert seen == [sum(lengths)]


def test_one_text(engine, encoder):
    ids, mask = batch([6])
    np.testing.assert_allclose(engine.single(ids[0], mask[0]), direct(encoder, ids, mask)[0], atol=2e-6)


def test_a_stream_keeps_its_order(engine, encoder):
    batches = [batch([4 + i, 2, 9][: 1 + i % 3], seed=i) for i in range(9)]
    answers = list(engine.stream(batches))
    assert [len(answer) for answer in answers] == [len(ids) for ids, _ in batches]
    for answer, (ids, mask) in zip(answers, batches, strict=True):
        np.testing.assert_allclose(answer, direct(encoder, ids, mask), atol=2e-6)
    assert list(engine.stream([])) == []


def test_an_answer_is_not_overwritten_by_the_next(engine):
    first = engine(*batch([5], seed=1))
    kept = first.copy()
    engine(*batch([5], seed=2))
    np.testing.assert_array_equal(first, kept)


def test_threads_do_not_mix_their_answers(engine, encoder):
    batches, answers = [batch([5 + i], seed=i) for i in range(6)], {}

    def ask(number):
        ids, mask = batches[number]
        answers[number] = [engine.single(ids[0], mask[0]) for _ in range(5)]

    threads = [threading.Thread(target=ask, args=[number]) for number in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, several in answers.items():
        for answer in several:
            np.testing.assert_allclose(answer, direct(encoder, *batches[number])[0], atol=2e-6)


def test_bfloat16_stays_close_to_float32(encoder):
    ids, mask = batch([8, 3, 15, 15])
    for name in ENGINES:
        fast = make_engine(encoder, name, tf.bfloat16)(ids, mask)
        assert (fast * direct(encoder, ids, mask)).sum(-1).min() > 0.998, name


def test_a_kept_graph_that_is_damaged_is_made_again(encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("TFREC_LLM_CACHE", str(tmp_path))
    ids, mask = batch([5, 9])
    assert make_engine(encoder, "openvino", one_by_one=True).name == "openvino"
    (kept,) = (tmp_path / "engines").iterdir()
    (kept / "saved_model.pb").write_bytes(b"damaged")
    again = make_engine(encoder, "openvino", one_by_one=True)
    assert again.name == "openvino"
    np.testing.assert_allclose(again(ids, mask), direct(encoder, ids, mask), atol=2e-6)
    assert not kept.exists()


def test_rounded_weights_stay_close_and_are_all_replaced(encoder, tmp_path):
    module = Numeric(encoder, tf.float32)
    tf.saved_model.save(module, tmp_path, signatures=module.encode.get_concrete_function())
    assert round_weights(openvino.Core().read_model(tmp_path)) == 8  # of two layers: fused, joined, widened, narrowed
    for lengths in ([7], [8, 3, 15, 15]):
        ids, mask = batch(lengths)
        rounded = make_engine(encoder, "openvino", rounded=True)(ids, mask)
        assert (rounded * direct(encoder, ids, mask)).sum(-1).min() > 0.998
        assert np.abs(rounded - direct(encoder, ids, mask)).max() > 1e-5


@pytest.mark.parametrize("method", ["lora", "prefix", "adapter"])
def test_what_finetuning_hangs_on_is_encoded_too(method):
    encoder = tiny(Tiny())
    settings, build = FINETUNING[method]
    tuned = build(settings(), encoder, 3)
    for variable in tuned.variables:
        variable.assign_add(tf.random.stateless_normal(variable.shape, [3, 4], stddev=0.3))
    ids, mask = batch([6, 11])
    assert np.abs(direct(encoder, ids, mask) - direct(tiny(Tiny()), ids, mask)).max() > 1e-3
    for name in ENGINES:
        np.testing.assert_allclose(make_engine(encoder, name)(ids, mask), direct(encoder, ids, mask), atol=5e-6)


class Unreadable:
    """An encoder with an operation that OpenVINO does not know."""

    def __init__(self):
        self.inner = tiny(Tiny())
        self.dim = self.inner.dim

    def encode(self, ids, mask, dtype):
        joined = tf.strings.reduce_join(tf.strings.as_string(ids), 1)
        even = tf.cast(tf.strings.to_hash_bucket_fast(joined, 2), tf.float32)[:, None]
        return self.inner.encode(ids, mask, dtype) + 0.0 * even


def test_what_openvino_cannot_read_falls_back_with_one_warning(caplog):
    encoder = Unreadable()
    made = make_engine(encoder, "openvino")
    assert made.name == "tensorflow"
    assert sum("OpenVINO cannot read" in record.message for record in caplog.records) == 1
    ids, mask = batch([4, 2])
    np.testing.assert_allclose(made(ids, mask), direct(encoder.inner, ids, mask), atol=2e-6)


def test_auto_is_openvino_only_where_it_can_be(monkeypatch):
    monkeypatch.setattr(engines.tf.config, "list_physical_devices", lambda kind: [])
    monkeypatch.setattr(engines, "_intel", lambda: True)
    monkeypatch.setattr(engines, "openvino", object())
    assert resolve("auto") == "openvino"
    assert resolve("tensorflow") == "tensorflow"
    monkeypatch.setattr(engines, "_intel", lambda: False)
    assert resolve("auto") == "tensorflow"
    assert resolve("auto", one_by_one=True) == "openvino"
    monkeypatch.setattr(engines, "_intel", lambda: True)
    monkeypatch.setattr(engines.tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    assert resolve("auto", one_by_one=True) == "tensorflow"
    monkeypatch.setattr(engines, "openvino", None)
    assert resolve("auto", one_by_one=True) == "tensorflow"
    with pytest.raises(ValueError, match=r"pip install 'openvino"):
        resolve("openvino")


def test_an_unknown_engine_is_refused():
    with pytest.raises(ValueError, match="expected one of auto, tensorflow, openvino, got 'onnx'"):
        resolve("onnx")
