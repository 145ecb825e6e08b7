"""Tokens find their characters, whatever the tokenizer; tags and spans are each other's inverse."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.text.encoders.registry import Tiny, tiny
from tfrec_llm.text.encoders.tokenizers import SentencePiece, WordPiece
from tfrec_llm.text.slots.alignment import spans_of, tags_of, token_places
from tfrec_llm.types import Span

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "under",
    "cheap",
    "pho",
    "##ne",
    "cafe",
    "手",
    "机",
    "200",
    "元",
    "大",
    "屏",
]
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁under", "▁cheap", "▁phone", "手机", "200", "元", "▁200", "大", "屏"]
TOKENIZERS = {
    "word_piece": lambda: WordPiece(WORDS),
    "sentence_piece": lambda: SentencePiece(PIECES, -np.arange(len(PIECES), dtype=np.float32)),
    "characters": lambda: tiny(Tiny()).tokenizer,
}


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("text", ["Cheap phone under 200", "手机 200元", "大屏手机under ２００元", "", "  200  "])
def test_known_pieces_cover_themselves(name, text):
    tokenizer = TOKENIZERS[name]()
    ids = tokenizer(tf.constant([text]), 64)[0][0].numpy()
    pieces = [tokenizer.pieces[i] for i in ids]
    places = token_places(text, pieces)
    assert (places[:, 0] <= places[:, 1]).all()
    assert (np.diff(places[:, 0]) >= 0).all()
    for (begin, end), piece in zip(places, pieces, strict=True):
        if name != "characters" and piece.strip("▁"):
            folded = text[begin:end].casefold().translate({0xFF10 + i: str(i) for i in range(10)})
            assert folded.strip() == piece.strip("▁")


def test_unknown_tokens_share_what_stands_between():
    assert token_places("ab xyz cd", ["▁", "▁ab", "", "▁cd", "▁"]).tolist() == [[0, 0], [0, 2], [3, 6], [7, 9], [9, 9]]
    assert token_places("xy zw", ["", ""]).tolist() == [[0, 2], [3, 5]]
    assert token_places("café", ["▁cafe"]).tolist() == [[0, 4]]


def test_tags_begin_and_go_on():
    places = np.array([[0, 0], [0, 5], [6, 9], [9, 11], [12, 15], [15, 15]])
    spans = [Span(6, 11, "price", "x"), Span(12, 15, "brand", "y")]
    tags = tags_of(places, spans, ("brand", "price"))
    assert tags.tolist() == [0, 0, 3, 4, 1, 0]
    assert spans_of(tags, ("brand", "price")) == [(2, 4, "price"), (4, 5, "brand")]


def test_a_token_belongs_to_the_span_with_its_larger_part():
    places = np.array([[0, 4], [4, 8]])
    assert tags_of(places, [Span(3, 8, "a", "")], ("a",)).tolist() == [0, 1]
    assert tags_of(places, [Span(1, 8, "a", "")], ("a",)).tolist() == [1, 2]


def test_an_inside_without_a_beginning_begins():
    assert spans_of([2, 2, 0, 4, 2, 1], ("a", "b")) == [(0, 2, "a"), (3, 4, "b"), (4, 5, "a"), (5, 6, "a")]
