"""The encoder `bert`: checkpoints on disk against `transformers`' own model of the same folder."""

import json

import numpy as np
import pytest
import tensorflow as tf
from transformers import TFBertModel

from tests.text import checkpoints
from tests.text.checkpoints import SIZES, WORDS
from tfrec_llm.config import Component, ConfigError, choose
from tfrec_llm.text.encoders.pretrained import Pretrained, bert
from tfrec_llm.text.encoders.registry import ENCODERS
from tfrec_llm.text.encoders.tokenizers import WordPiece

TEXTS = ["Hello, world!", "手机 phone 便宜", "", "a much longer text than the others, with many letters " * 2]


@pytest.fixture(scope="module")
def reference() -> TFBertModel:
    return checkpoints.bert_model()


@pytest.fixture
def folder(reference, tmp_path):
    """A checkpoint with safetensors."""
    reference.config.save_pretrained(tmp_path)
    checkpoints.write_words(tmp_path)
    checkpoints.write_safetensors(reference, tmp_path)
    return tmp_path


def change(folder, **settings):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings), encoding="utf-8")


def tokens_of(encoder, texts=TEXTS):
    ids, mask = encoder.tokenize(tf.constant(texts))
    return ids, mask, encoder.tokens(ids, mask).numpy()


def check_against(model, encoder):
    ids, mask, ours = tokens_of(encoder)
    expected = model(ids, attention_mask=tf.cast(mask, tf.int32)).last_hidden_state.numpy()
    assert np.abs(expected - ours)[mask.numpy()].max() < 1e-4
    assert np.abs(expected).max() > 1


def test_a_folder_of_save_pretrained_equals_the_reference(reference, tmp_path):
    reference.save_pretrained(tmp_path)
    assert (tmp_path / "tf_model.h5").exists()
    checkpoints.write_words(tmp_path)
    check_against(TFBertModel.from_pretrained(tmp_path), bert(Pretrained(str(tmp_path))))


@pytest.mark.parametrize(("shards", "prefix"), [(1, ""), (1, "bert."), (3, "bert.")])
def test_safetensors_equal_the_reference(reference, tmp_path, shards, prefix):
    reference.config.save_pretrained(tmp_path)
    checkpoints.write_words(tmp_path)
    checkpoints.write_safetensors(reference, tmp_path, shards, prefix)
    check_against(reference, bert(Pretrained(str(tmp_path))))


@pytest.mark.parametrize("act", ["gelu_new", "relu"])
def test_other_activations_and_widths(tmp_path, act):
    model = checkpoints.bert_model(hidden_act=act, hidden_size=40)
    model.config.save_pretrained(tmp_path)
    checkpoints.write_words(tmp_path)
    checkpoints.write_safetensors(model, tmp_path)
    check_against(model, bert(Pretrained(str(tmp_path))))


def test_names_of_old_checkpoints(folder, reference):
    weights = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in checkpoints.as_pytorch(reference).items()
    }
    checkpoints.safetensors.numpy.save_file(weights, folder / "model.safetensors")
    check_against(reference, bert(Pretrained(str(folder))))


def test_halves_are_read(folder, reference):
    weights = {name: value.astype(np.float16) for name, value in checkpoints.as_pytorch(reference).items()}
    checkpoints.safetensors.numpy.save_file(weights, folder / "model.safetensors")
    encoder = bert(Pretrained(str(folder)))
    assert all(v.dtype == tf.float32 for v in encoder.bert.blocks[0].variables)
    assert np.abs(tokens_of(encoder)[2] - tokens_of(encoder)[2]).max() < 0.05


def test_xlm_roberta_counts_positions_from_its_padding(tmp_path):
    pieces = [[name, 0.0] for name in ("<s>", "<pad>", "</s>", "<unk>")]
    pieces += [["▁", -3.0], ["▁hello", -1.0], ["▁world", -2.0]]
    pieces += [[letter, -4.0] for letter in "abcdefghijklmnopqrstuvwxyz手机便宜!,."] + [["<mask>", 0.0]]
    model = checkpoints.xlm_roberta_model(len(pieces))
    model.save_pretrained(tmp_path)
    described = {"model": {"type": "Unigram", "vocab": pieces, "unk_id": 3}, "normalizer": None}
    (tmp_path / "tokenizer.json").write_text(json.dumps(described), encoding="utf-8")
    encoder = bert(Pretrained(str(tmp_path)))
    check_against(model, encoder)
    assert encoder.tokenize(tf.constant(["hello world"]))[0].numpy().tolist() == [[0, 5, 6, 2]]
    assert encoder.bert.max_length == 40  # of 42 places, two stand before the first token's


def test_a_roberta_with_byte_level_bpe_encodes_but_cannot_be_exported(tmp_path):
    model = checkpoints.xlm_roberta_model(300)
    model.save_pretrained(tmp_path)
    checkpoints.write_byte_level(tmp_path, ("<s>", "<pad>", "</s>", "<unk>"))
    encoder = bert(Pretrained(str(tmp_path)))
    check_against(model, encoder)
    assert "vocab.txt" in encoder.export_obstacle


def test_pooling(folder):
    ids, mask, tokens = tokens_of(bert(Pretrained(str(folder), pooling="cls")))
    first = bert(Pretrained(str(folder), pooling="cls")).encode(ids, mask).numpy()
    np.testing.assert_allclose(first, tokens[:, 0] / np.linalg.norm(tokens[:, 0], axis=1, keepdims=True), atol=1e-5)
    mean = bert(Pretrained(str(folder))).encode(ids, mask).numpy()
    total = (tokens * mask.numpy()[..., None]).sum(1)
    np.testing.assert_allclose(mean, total / np.linalg.norm(total, axis=1, keepdims=True), atol=1e-5)


def test_pooling_that_the_checkpoint_names(folder):
    ids, mask, _ = tokens_of(bert(Pretrained(str(folder))))
    (folder / "1_Pooling").mkdir()
    said = {"word_embedding_dimension": 64, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(said), encoding="utf-8")
    wanted = bert(Pretrained(str(folder), pooling="cls")).encode(ids, mask)
    np.testing.assert_array_equal(bert(Pretrained(str(folder))).encode(ids, mask), wanted)
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}', encoding="utf-8")
    with pytest.raises(ValueError, match="expected mean_tokens or cls_token, got max_tokens"):
        bert(Pretrained(str(folder)))


def test_prefixes_and_fingerprints(folder):
    plain, other = bert(Pretrained(str(folder))), bert(Pretrained(str(folder), query_prefix="phone "))
    texts = tf.constant(["hello"])
    np.testing.assert_array_equal(other.tokenize(texts)[0], plain.tokenize(tf.constant(["phone hello"]))[0])
    np.testing.assert_array_equal(other.tokenize(texts, "passage")[0], plain.tokenize(texts)[0])
    assert plain.fingerprint == bert(Pretrained(str(folder))).fingerprint != other.fingerprint
    (folder / "vocab.txt").write_text("\n".join([*WORDS[:-1], "x"]) + "\n", encoding="utf-8")
    changed = bert(Pretrained(str(folder)))
    assert changed.fingerprint != plain.fingerprint
    assert changed.tokenize(tf.constant(["x"]))[0].numpy().tolist() == [[2, 86, 3]]  # of equal words the last


def test_lower_case_is_what_the_checkpoint_says(folder):
    assert WORDS.index("hello") in bert(Pretrained(str(folder))).tokenize(tf.constant(["HELLO"]))[0][0]
    checkpoints.write_words(folder, lower_case=False)
    assert bert(Pretrained(str(folder))).tokenize(tf.constant(["HELLO"]))[0].numpy().tolist() == [[2, 1, 3]]


def test_a_vocabulary_in_tokenizer_json(folder):
    described = {
        "normalizer": {"type": "BertNormalizer", "lowercase": False},
        "model": {"type": "WordPiece", "vocab": {word: i for i, word in enumerate(WORDS)}},
    }
    (folder / "tokenizer.json").write_text(json.dumps(described), encoding="utf-8")
    before = bert(Pretrained(str(folder))).tokenize(tf.constant(["hello手机", "HELLO"]))[0].numpy()
    for name in ("vocab.txt", "tokenizer_config.json"):
        (folder / name).unlink()
    after = bert(Pretrained(str(folder))).tokenize(tf.constant(["hello手机", "HELLO"]))[0].numpy()
    assert after[0].tolist() == before[0].tolist() == [2, 5, 8, 9, 3]
    assert after[1].tolist() == [2, 1, 3, 0, 0]


class Served(tf.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, texts):
        return self.encoder.encode(*self.encoder.tokenize(texts))


def test_exported_equals_python(folder, tmp_path):
    served = Served(bert(Pretrained(str(folder))))
    tf.saved_model.save(served, str(tmp_path / "model"))
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_allclose(loaded(tf.constant(TEXTS)), served(tf.constant(TEXTS)), atol=1e-6)


def test_a_path_is_needed():
    with pytest.raises(ConfigError, match="'path' is missing"):
        choose(ENCODERS, Component("bert"), "text.encoder")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_type": "distilbert"}, "expected a model_type of the BERT family .*, got 'distilbert'"),
        ({"model_type": "gpt2"}, "for GPT-2 set text.encoder to gpt2"),
        ({"is_decoder": True}, "got 'bert' as a decoder"),
        ({"hidden_act": "silu"}, "expected hidden_act gelu, gelu_new, relu.*got silu"),
        ({"position_embedding_type": "relative_key"}, "got gelu, relative_key"),
        ({"num_attention_heads": 7}, "a multiple of num_attention_heads.* 64 and 7"),
        ({"layer_norm_eps": "x"}, r"config\.json: expected a small layer_norm_eps, got 'x'"),
        ({"hidden_act": ["gelu"]}, r"config\.json: expected hidden_act to be a name, got \['gelu'\]"),
        (
            {"model_type": "roberta", "pad_token_id": "x"},
            r"config\.json: expected a pad_token_id from 0 to .*, got 'x'",
        ),
        (
            {"model_type": "roberta", "pad_token_id": 600},
            r"config\.json: expected a pad_token_id from 0 to .*, got 600",
        ),
        ({"hidden_size": "64"}, "expected positive numbers, got hidden_size '64'"),
        ({"num_hidden_layers": 3}, r"lacks 16 \(encoder\.layer\.2\.attention\.self\.query\.weight"),
        ({"num_hidden_layers": 1}, r"has 16 \(encoder\.layer\.1\..*, \.\.\.\) more"),
        ({"intermediate_size": 100}, r"intermediate\.dense\.weight \[100, 64\], got \[96, 64\]"),
        ({"vocab_size": 70}, r"expected a vocabulary of at most 70 words, as config\.json says, got 87"),
        ({"vocab_size": 90}, r"word_embeddings\.weight \[90, 64\], got \[87, 64\]"),
    ],
)
def test_a_config_that_does_not_fit(folder, settings, message):
    change(folder, **settings)
    with pytest.raises(ValueError, match=message):
        bert(Pretrained(str(folder)))


def test_a_missing_weight_is_named(folder, reference):
    weights = checkpoints.as_pytorch(reference)
    del weights["bert.encoder.layer.1.output.dense.bias"]
    checkpoints.safetensors.numpy.save_file(weights, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"the checkpoint lacks 1 \(encoder\.layer\.1\.output\.dense\.bias\); config"):
        bert(Pretrained(str(folder)))


def test_an_extra_weight_is_named_but_heads_are_left_alone(folder, reference):
    weights = checkpoints.as_pytorch(reference) | {"cls.predictions.bias": np.zeros(3, np.float32)}
    weights["bert.embeddings.position_ids"] = np.zeros((1, 40), np.float32)
    checkpoints.safetensors.numpy.save_file(weights, folder / "model.safetensors")
    check_against(reference, bert(Pretrained(str(folder))))
    weights["bert.encoder.layer.0.adapter.weight"] = np.zeros(3, np.float32)
    checkpoints.safetensors.numpy.save_file(weights, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"has 1 \(encoder\.layer\.0\.adapter\.weight\) more"):
        bert(Pretrained(str(folder)))


def test_missing_files_are_named(folder):
    (folder / "vocab.txt").rename(folder / "kept")
    with pytest.raises(ValueError, match=r"expected vocab\.txt, sentencepiece\.bpe\.model, .*got none"):
        bert(Pretrained(str(folder)))
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match=r"expected config\.json, got 3 files \(kept, "):
        bert(Pretrained(str(folder)))


def test_a_vocabulary_without_special_tokens(folder):
    (folder / "vocab.txt").write_text("hello\nworld\n[UNK]\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"got 3 words without \[PAD\], \[CLS\], \[SEP\]"):
        bert(Pretrained(str(folder)))
    (folder / "vocab.txt").write_bytes(b"\xff\xfe[PAD]")
    with pytest.raises(ValueError, match=r"expected a vocabulary of WordPiece in vocab\.txt .* decode .*download"):
        bert(Pretrained(str(folder)))
    (folder / "vocab.txt").unlink()
    (folder / "tokenizer.json").write_text('{"model": {"type": "WordPiece"}}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"expected a vocabulary of WordPiece .* got no 'vocab'"):
        bert(Pretrained(str(folder)))


def test_sizes_are_those_of_the_config(folder):
    shape = bert(Pretrained(str(folder))).bert.shape
    assert (shape.hidden_size, shape.num_hidden_layers) == (SIZES["hidden_size"], SIZES["num_hidden_layers"])
    assert isinstance(bert(Pretrained(str(folder))).tokenizer, WordPiece)
