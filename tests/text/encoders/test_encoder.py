import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.text.encoders.registry import Tiny, tiny


@pytest.fixture(scope="module")
def encoder():
    return tiny(Tiny())


def encode(encoder, texts, **kwargs):
    return encoder.encode(*encoder.tokenize(tf.constant(texts), **kwargs)).numpy()


def test_unit_length_whatever_the_text(encoder):
    vectors = encode(encoder, ["", " ", "手机", "a" * 20_000, "\U0001f600\x00"])
    assert vectors.shape == (5, encoder.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_alone_or_in_a_batch_the_same(encoder):
    texts = ["short", "", "a much longer text than the others here", "手机"]
    together = encode(encoder, texts)
    for text, expected in zip(texts, together, strict=True):
        np.testing.assert_allclose(encode(encoder, [text])[0], expected, atol=1e-5)


def test_max_tokens_cuts(encoder):
    assert encoder.tokenize(tf.constant(["x" * 100]), max_tokens=8)[0].shape == (1, 8)
    assert encoder.tokenize(tf.constant(["x" * 9999]), max_tokens=512)[0].shape == (1, 512)


def test_equal_seeds_equal_encoders_and_fingerprints():
    one, two, other = tiny(Tiny()), tiny(Tiny()), tiny(Tiny(seed=2))
    np.testing.assert_array_equal(encode(one, ["hello"]), encode(two, ["hello"]))
    assert one.fingerprint == two.fingerprint != other.fingerprint


def test_unknown_kind_of_text(encoder):
    with pytest.raises(ValueError, match="query, passage, got 'document'"):
        encoder.tokenize(tf.constant(["x"]), kind="document")


class Served(tf.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, texts):
        return self.encoder.encode(*self.encoder.tokenize(texts))


def test_exported_equals_python(encoder, tmp_path):
    tf.saved_model.save(Served(encoder), str(tmp_path))
    texts = ["hello", "", "手机 with 5G"]
    loaded = tf.saved_model.load(str(tmp_path))(tf.constant(texts)).numpy()
    np.testing.assert_allclose(loaded, encode(encoder, texts), atol=1e-6)
    assert (tmp_path / "saved_model.pb").stat().st_size < 1_000_000
