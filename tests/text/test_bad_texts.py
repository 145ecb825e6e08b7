"""What users may type, at the level of the text model: every text gets finite probabilities, alone and in a batch."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.text.classification.heads import Head
from tfrec_llm.text.encoders.registry import ENCODERS
from tfrec_llm.text.model import SIGNALS, TextModel
from tfrec_llm.types import ItemVectors

TEXTS = {
    "empty": b"",
    "whitespace": b" \t\n \xe3\x80\x80 ",
    "endless": b"buy " * 250_000,
    "endless without spaces": b"x" * 1_000_000,
    "endless Chinese": "手机".encode() * 500_000,
    "invalid UTF-8": b"cheap \xff\xfe\xc3( phone \xed\xa0\x80",
    "cut in a character": "大屏手机".encode()[:-1],
    "only emoji": "😀🔥👍🏽👨‍👩‍👧".encode(),
    "only punctuation": "?!…——。，".encode(),
    "right to left": "أريد هاتفًا رخيصًا \u202eשלום".encode(),
    "null bytes": b"\x00\x00cheap\x00phone\x00",
    "control characters": b"\x01\x02\x7f\xc2\x85",
}


@pytest.fixture(scope="module")
def model() -> TextModel:
    settings, builder = ENCODERS["tiny"]
    encoder = builder(settings())
    labels = dict.fromkeys(SIGNALS, ("a", "b", "c"))
    heads = {name: Head(encoder.dim, 3, 8, seed=number) for number, name in enumerate(SIGNALS)}
    items = ItemVectors(np.zeros((2, encoder.dim), np.float32), None, None, None, np.zeros((2, 1), bool))
    return TextModel(encoder, heads, labels, items, max_tokens=64)


@pytest.mark.parametrize("name", TEXTS)
def test_every_text_has_an_answer(model, name):
    ids, mask = model.tokenize(tf.constant([TEXTS[name]]))
    assert 2 <= ids.shape[1] <= 64
    signals = model.signals(model.encode(ids, mask))
    for part in signals[:3]:
        np.testing.assert_allclose(tf.reduce_sum(part, -1), 1, atol=1e-5)
    np.testing.assert_allclose(tf.norm(signals.embedding, axis=-1), 1, atol=1e-4)


def test_a_batch_of_them_answers_as_each_alone(model):
    together = model.encode(*model.tokenize(tf.constant(list(TEXTS.values()))))
    for row, text in enumerate(TEXTS.values()):
        np.testing.assert_allclose(model.encode(*model.tokenize(tf.constant([text])))[0], together[row], atol=1e-5)


def test_a_bad_text_leaves_its_neighbour_alone(model):
    alone = model.signals(model.encode(*model.tokenize(tf.constant(["cheap phone"]))))
    beside = model.signals(model.encode(*model.tokenize(tf.constant([TEXTS["endless"], b"cheap phone"]))))
    np.testing.assert_allclose(alone.intent[0], beside.intent[1], atol=1e-5)
