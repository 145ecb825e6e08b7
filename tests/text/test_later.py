"""Attributes of items that came after the training, by hand."""

import numpy as np

from tfrec_llm.text import with_later
from tfrec_llm.text.attributes import PRICE_BAND, ItemAttributes
from tfrec_llm.types import Catalogue

NAN = np.nan


def test_what_the_catalogue_says_counts_and_nothing_is_predicted():
    values = {"colour": ("red", "blue"), PRICE_BAND: ("low", "middle", "high")}
    table = np.zeros((5, 5), np.float32)
    table[2:, 0] = 1
    price, rank = np.array([NAN, NAN, 1, 2, 9], np.float32), np.array([0.5, 0.5, 0, 0.5, 1], np.float32)
    trained = ItemAttributes(values, table, {"colour": np.zeros(5, bool), PRICE_BAND: np.zeros(5, bool)}, price, rank)
    names = np.array(["", "[unknown]", *"abcde"])
    colours = ((), (), ("red",), ("red",), ("red",), ("blue", "green"), ())
    catalogue = Catalogue(
        names, names, names, {"colour": colours}, np.array([NAN, NAN, 1, NAN, 3, 9, NAN], np.float32), names != ""
    )
    found = with_later(trained, catalogue)
    np.testing.assert_array_equal(found.probabilities[:5], table)
    np.testing.assert_array_equal(found.probabilities[5:], [[0, 1, 0, 0, 1], [0, 0, 0, 0, 0]])  # 9 is the dearest
    np.testing.assert_array_equal(found.price, [NAN, NAN, 1, 2, 3, 9, NAN])
    np.testing.assert_array_equal(found.rank, [0.5, 0.5, 0, 0.5, 1, 1, 0.5])
    assert not found.predicted["colour"].any()
    assert len(found.predicted[PRICE_BAND]) == 7


def test_a_later_price_is_ranked_among_items_of_the_same_attribute():
    """Six red ones cost 1 to 6, six blue ones 11 to 16; the finer attribute sets every item apart."""
    count = 12
    colours = ((), (), *((("red",) if i < 6 else ("blue",)) for i in range(count)), ("red",))
    lots = ((), (), *((f"lot {i}",) for i in range(count)), ("lot 0",))
    names = np.array(["", "[unknown]", *(f"i{i}" for i in range(count + 1))])
    price = np.array([NAN, NAN, *range(1, 7), *range(11, 17), 7], np.float32)
    catalogue = Catalogue(names, names, names, {"colour": colours, "lot": lots}, price, names != "")
    values = {"colour": ("red", "blue"), "lot": tuple(f"lot {i}" for i in range(count))}
    table, flags = np.zeros((count + 2, 14), np.float32), {name: np.zeros(count + 2, bool) for name in values}
    rank = np.full(count + 2, 0.5, np.float32)
    for like, expected in (("colour", 1.0), ("", 0.5)):  # the dearest of seven red ones; the middle of all thirteen
        trained = ItemAttributes(values, table, flags, price[:-1], rank, like)
        found = with_later(trained, catalogue)
        assert (found.rank[-1], found.like) == (expected, like)
