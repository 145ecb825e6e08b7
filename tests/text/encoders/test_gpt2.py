"""The encoder `gpt2` against `TFGPT2Model` and `GPT2TokenizerFast`."""

import json

import numpy as np
import pytest
import tensorflow as tf
from transformers import GPT2TokenizerFast, TFGPT2Model

from tests.text import checkpoints
from tests.text.encoders.test_tokenizers import HARD
from tfrec_llm.text.encoders.bulk import encode_texts
from tfrec_llm.text.encoders.gpt2 import Gpt2Settings, gpt2
from tfrec_llm.text.finetuning import FINETUNING

TEXTS = ["hello world", "", "手机 phone", "a longer text"]


@pytest.fixture(scope="module")
def reference() -> TFGPT2Model:
    return checkpoints.gpt2_model()


@pytest.fixture(scope="module")
def folder(reference, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpt2")
    reference.save_pretrained(folder)
    checkpoints.write_byte_level(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(folder):
    return gpt2(Gpt2Settings(str(folder)))


def expected_tokens(reference, encoder, texts=TEXTS):
    ids, mask = encoder.tokenize(tf.constant(texts))
    return mask.numpy(), reference(ids, attention_mask=tf.cast(mask, tf.int32)).last_hidden_state.numpy()


def check_against(reference, encoder):
    mask, expected = expected_tokens(reference, encoder)
    ours = encoder.tokens(*encoder.tokenize(tf.constant(TEXTS))).numpy()
    assert np.abs(expected - ours)[mask].max() < 1e-4
    assert np.abs(expected).max() > 1


def test_h5_equals_the_reference(reference, encoder):
    check_against(reference, encoder)


def test_safetensors_equal_the_reference(reference, tmp_path):
    reference.config.save_pretrained(tmp_path)
    checkpoints.write_byte_level(tmp_path)
    weights = checkpoints.as_pytorch(reference)
    buffers = {"h.0.attn.bias": np.ones((1, 1, 4, 4), np.float32)}
    checkpoints.safetensors.numpy.save_file(weights | buffers, tmp_path / "model.safetensors")
    check_against(reference, gpt2(Gpt2Settings(str(tmp_path))))


def test_ids_equal_the_reference(folder, encoder):
    theirs = GPT2TokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"))
    for text in [*HARD, "hello world " * 20]:
        ids, mask = encoder.tokenize(tf.constant([text.encode("utf-8", "replace")]), max_tokens=48)
        expected = theirs(text, add_special_tokens=False, split_special_tokens=True).input_ids[:46]
        assert ids.numpy()[0][mask.numpy()[0]].tolist() == [0, *expected, 0], text


def test_what_looks_like_a_special_token_is_text(encoder):
    assert encoder.tokenize(tf.constant(["<|endoftext|>"]))[0].shape[1] == 15


def test_last_and_mean(reference, folder, encoder):
    mask, expected = expected_tokens(reference, encoder)
    last = np.stack([row[kept][-1] for row, kept in zip(expected, mask, strict=True)])
    total = (expected * mask[..., None]).sum(1)
    for pooling, vectors in (("last", last), ("mean", total)):
        chosen = gpt2(Gpt2Settings(str(folder), pooling=pooling))
        ours = chosen.encode(*chosen.tokenize(tf.constant(TEXTS))).numpy()
        np.testing.assert_allclose(ours, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), atol=1e-4)


def test_alone_or_in_a_batch_the_same(encoder):
    together = encoder.encode(*encoder.tokenize(tf.constant(TEXTS))).numpy()
    for text, vector in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(encoder.encode(*encoder.tokenize(tf.constant([text])))[0], vector, atol=1e-5)


def test_items_are_encoded_in_bulk(encoder, monkeypatch, tmp_path):
    monkeypatch.setenv("TFREC_LLM_CACHE", str(tmp_path))
    vectors = encode_texts(encoder, [*TEXTS, "x" * 1_000_000, "\x00\ud800"], "passage", 48, 4, "float32")
    assert vectors.shape == (6, 64)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", FINETUNING)
def test_fine_tuning_starts_equal_and_trains(folder, name):
    encoder = gpt2(Gpt2Settings(str(folder)))
    ids, mask = encoder.tokenize(tf.constant(TEXTS))
    before = encoder.encode(ids, mask).numpy()
    settings, hang = FINETUNING[name]
    method = hang(settings(), encoder, 1)
    np.testing.assert_allclose(encoder.encode(ids, mask), before, atol=1e-5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(encoder.encode(ids, mask)[:, 0])
    gradients = tape.gradient(loss, method.variables)
    assert name == "frozen" or any(g is not None and tf.reduce_any(g != 0) for g in gradients)


def test_it_says_early_that_it_cannot_be_exported(folder, encoder, caplog):
    gpt2(Gpt2Settings(str(folder)))
    assert "cannot be in a SavedModel" in caplog.text
    assert "cannot be in a SavedModel" in encoder.export_obstacle
    assert "e5_small" in encoder.export_obstacle


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_type": "bert"}, "expected model_type gpt2, got 'bert'; for the BERT family set text.encoder to bert"),
        ({"n_layer": 3}, r"lacks 12 \(h\.2\.attn\.c_attn\.weight"),
        ({"n_layer": 1}, r"has 12 \(h\.1\."),
        ({"n_embd": None}, "expected positive numbers, got n_embd None"),
        ({"scale_attn_by_inverse_layer_idx": True}, "expected a plain GPT-2"),
        ({"activation_function": "swish"}, "got swish"),
        ({"vocab_size": 200}, "expected a vocabulary of at most 200 words"),
    ],
)
def test_a_config_that_does_not_fit(reference, tmp_path, settings, message):
    reference.config.save_pretrained(tmp_path)
    checkpoints.write_byte_level(tmp_path)
    checkpoints.safetensors.numpy.save_file(checkpoints.as_pytorch(reference), tmp_path / "model.safetensors")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        gpt2(Gpt2Settings(str(tmp_path)))


def test_a_damaged_vocabulary(reference, tmp_path):
    reference.config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"expected tokenizer\.json, or vocab\.json and merges\.txt"):
        gpt2(Gpt2Settings(str(tmp_path)))
    checkpoints.write_byte_level(tmp_path, ("<|begin|>",))
    with pytest.raises(ValueError, match="a vocabulary with all bytes and"):
        gpt2(Gpt2Settings(str(tmp_path)))
