"""Bounds out of tags, bounds behind embeddings, and which items lie inside."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.text.classification.heads import Head
from tfrec_llm.text.slots import NUM_BOUNDS, SlotModel, inside, split_bounds, with_bounds
from tfrec_llm.text.slots.extract import extract
from tfrec_llm.types import Span

PIECES = ["▁", "▁under", "▁over", "▁200", "▁50", "▁phone"]
KINDS = ("category", "above", "below")


class OneHot(tf.Module):
    """A tagger whose tokens are the tags themselves."""

    def __call__(self, tokens):
        return tokens


def model():
    heads = {"category": Head(3, 3), "price": Head(3, 3)}
    return SlotModel(KINDS, OneHot(), heads, {"category": ("phone", "case"), "price": ("low", "high")}, PIECES)


@pytest.mark.parametrize(
    ("words", "tags", "expected"),
    [
        (["▁under", "▁200"], [5, 6], [0, 200]),
        (["▁over", "▁50", "▁under", "▁200"], [3, 4, 5, 6], [50, 200]),
        (["▁phone", "▁200"], [1, 0], [0, 0]),
    ],
)
def test_bounds(words, tags, expected):
    ids = tf.constant([[PIECES.index(word) for word in words] + [0]])
    mask = tf.constant([[True] * len(words) + [False]])
    tokens = tf.one_hot([[*tags, 6]], 7)  # what padding says is not heard
    np.testing.assert_allclose(model().bounds(ids, mask, tokens), [expected])


def test_named_values_are_probabilities_by_attribute():
    made = model()
    assert made.names == (("category", "phone"), ("category", "case"), ("price", "low"), ("price", "high"))
    named = made.named(tf.random.stateless_normal([4, 3], [1, 2]))
    assert named.shape == (4, 4)
    assert (tf.reduce_sum(named[:, :2], 1) < 1).numpy().all()  # the rest is "not named"


def test_saved_and_loaded_it_names_the_same_whatever_the_attributes_order(tmp_path):
    values = {"size": ("small", "large", "huge"), "colour": ("blue",)}  # not in the order of the alphabet
    heads = {name: Head(3, 1 + len(own), 0) for name, own in values.items()}
    made = SlotModel(("size", "colour"), Head(3, 5, 0), heads, values, PIECES)
    made.save(tmp_path)
    again = SlotModel.load(tmp_path, 3, 0, PIECES)
    assert again.names == made.names
    embedding = tf.random.stateless_normal([4, 3], [1, 2])
    np.testing.assert_array_equal(again.named(embedding), made.named(embedding))


@pytest.mark.parametrize("bounds", [[0, 0], [0, 200], [19.99, 0], [50, 12345], [0.99, 20_000_000]])
def test_bounds_ride_behind_an_embedding_unfelt(bounds):
    embedding = tf.math.l2_normalize(tf.random.stateless_normal([1, 384], [3, 4]), -1)
    joined = with_bounds(embedding, tf.constant([bounds], tf.float32))
    assert joined.shape == (1, 384 + NUM_BOUNDS)
    assert abs(float(tf.norm(joined)) - 1) < 1e-5
    vector, back = split_bounds(joined, 384)
    np.testing.assert_array_equal(vector, embedding)
    np.testing.assert_allclose(back, [bounds], rtol=1e-4)


def test_an_embedding_alone_has_no_bounds():
    embedding = tf.ones([2, 5])
    vector, bounds = split_bounds(embedding, 5)
    np.testing.assert_array_equal(vector, embedding)
    np.testing.assert_array_equal(bounds, np.zeros([2, 2]))


def test_inside():
    prices = tf.constant([np.nan, 10.0, 200.0, 200.5])
    bounds = tf.constant([[0.0, 0], [0, 200], [200, 0], [10, 200]])
    expected = [[1, 1, 1, 1], [0, 1, 1, 0], [0, 0, 1, 1], [0, 1, 1, 0]]
    np.testing.assert_array_equal(inside(prices, bounds), np.array(expected, bool))


def test_spans_with_values():
    """A tagger that tags by id: spans come back as characters, values by words or else by the head."""
    ids = {"▁": 0, "▁under": 5, "▁200": 6, "▁phone": 1}

    class ById(tf.Module):
        dim, tokenizer = 3, SimpleNamespace(pieces=PIECES)

        def prefix(self, kind):
            return f"{kind}: "

        def tokenize(self, texts, kind="query", max_tokens=64):
            words = [["▁" + w for w in t.numpy().decode().split()] for t in texts]
            rows = [[PIECES.index(w) if w in PIECES else 0 for w in row] for row in words]
            return tf.constant(rows), tf.ones_like(rows, tf.bool)

        def tokens(self, found, mask):
            return tf.one_hot([[ids.get(PIECES[i], 0) for i in row] for row in found.numpy()], 7)

        def encode(self, found, mask):
            return tf.ones([1, 3])

    domain = SimpleNamespace(words={"en": {"phone": ("phone", "handset")}})
    (spans,) = extract(model(), ById(), domain, ["phone under 200"])
    assert spans == [Span(0, 5, "category", "phone"), Span(6, 15, "below", "under 200")]
