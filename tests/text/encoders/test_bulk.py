import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.config import Config, Text
from tfrec_llm.text.encoders import bulk
from tfrec_llm.text.encoders.registry import Tiny, tiny

TEXTS = ["one", "a longer text", "one", "手机", "", "three is the longest of all these texts"]


class Counting:
    """An encoder that counts the rows it encodes."""

    def __init__(self):
        self.inner, self.rows = tiny(Tiny()), 0
        self.dim, self.fingerprint, self.tokenize = self.inner.dim, self.inner.fingerprint, self.inner.tokenize

    def encode(self, ids, mask, dtype):
        tf.py_function(self.count, [ids], [])
        return self.inner.encode(ids, mask, dtype)

    def count(self, ids):
        self.rows += ids.shape[0]


@pytest.fixture
def encoder(tmp_path, monkeypatch):
    monkeypatch.setenv("TFREC_LLM_CACHE", str(tmp_path))
    return Counting()


def encode(encoder, texts, **kwargs):
    settings = {"kind": "query", "max_tokens": 32, "batch_size": 2, "precision": "float32"}
    settings |= {"engine": "tensorflow", **kwargs}
    return bulk.encode_texts(encoder, texts, **settings)


def direct(encoder, texts):
    return encoder.inner.encode(*encoder.tokenize(tf.constant(texts), "query", 32)).numpy()


def test_order_kept_and_equal_texts_encoded_once(encoder):
    np.testing.assert_allclose(encode(encoder, TEXTS), direct(encoder, TEXTS), atol=1e-5)
    assert encoder.rows == 5


def test_second_call_reads_the_cache(encoder):
    first = encode(encoder, TEXTS)
    np.testing.assert_array_equal(encode(encoder, TEXTS[::-1]), first[::-1])
    assert encoder.rows == 5
    encode(encoder, [*TEXTS, "new"])
    assert encoder.rows == 6


def test_kind_length_and_precision_have_caches_of_their_own(encoder):
    encode(encoder, ["a"])
    for other in ({"kind": "passage"}, {"max_tokens": 16}, {"precision": "bfloat16"}):
        encode(encoder, ["a"], **other)
    assert encoder.rows == 4


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"PK" + b"x" * 50])
def test_damaged_cache_is_ignored_and_rewritten(encoder, tmp_path, damage, caplog):
    first = encode(encoder, TEXTS)
    (piece,) = tmp_path.glob("vectors/*/*.npz")
    piece.write_bytes(damage(piece.read_bytes()))
    np.testing.assert_array_equal(encode(encoder, TEXTS), first)
    assert "encoded again" in caplog.text
    assert encoder.rows == 10
    encode(encoder, TEXTS)
    assert encoder.rows == 10


def test_interrupted_run_keeps_its_pieces(encoder, monkeypatch):
    monkeypatch.setattr(bulk, "PIECE", 2)
    texts, written = [f"text number {i}" for i in range(6)], bulk._write

    def write_once(folder, keys, vectors):
        written(folder, keys, vectors)
        raise KeyboardInterrupt

    monkeypatch.setattr(bulk, "_write", write_once)
    with pytest.raises(KeyboardInterrupt):
        encode(encoder, texts)
    monkeypatch.setattr(bulk, "_write", written)
    encode(encoder, texts)
    assert encoder.rows == 6


def test_no_texts(encoder):
    assert encode(encoder, []).shape == (0, encoder.dim)


def test_lone_surrogates_do_not_stop_it(encoder):
    assert np.isfinite(encode(encoder, ["broken \ud800 text"])).all()


def test_engine_and_precision_are_those_of_the_config(monkeypatch):
    asked = []
    monkeypatch.setattr(bulk, "encode_texts", lambda *arguments: asked.append(arguments[2:]))
    text = Text(engine="tensorflow", precision="float32", max_tokens=9, batch_size=3)
    bulk.encode_queries(None, Config(text=text), ["hello"])
    assert asked == [("query", 9, 3, "float32", "tensorflow")]
    assert bulk.precision_of(text) == "float32"
    assert bulk.precision_of(Text()) == bulk.fast_precision()
