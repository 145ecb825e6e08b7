"""Which attributes of a catalogue of one's own are listened for."""

from types import SimpleNamespace

import numpy as np

from tfrec_llm import config
from tfrec_llm.text.attributes import price_ranks
from tfrec_llm.text.slots.listened import MOST, listened_values
from tfrec_llm.types import Catalogue

ITEMS = 40


def dataset(columns, prices=None):
    """Items with these values; the domain knows the attribute category alone."""
    empty = np.array([""] * (ITEMS + 2))
    attributes = {name: ((), (), *((value,) if value else () for value in values)) for name, values in columns.items()}
    price = np.full(ITEMS + 2, np.nan, np.float32) if prices is None else np.array([np.nan, np.nan, *prices])
    catalogue = Catalogue(empty, empty, empty, attributes, price, empty == "")
    return SimpleNamespace(catalogue=catalogue, domain=SimpleNamespace(utterance_attributes=("category",)))


def settings(source="files"):
    return config.Config(data=config.Data(source=source))


COLUMNS = {
    "colour": ["red", "blue"] * (ITEMS // 2),
    "screen": ["large"] * 10 + ["small"] * 10 + [""] * (ITEMS - 20),
    "serial": [f"s{i}" for i in range(ITEMS)],
    "waterproof": ["yes", "No"] * (ITEMS // 2),
    "below": ["this", "that"] * (ITEMS // 2),
    "category": ["phone", "case"] * (ITEMS // 2),
}


def test_the_domains_attributes_come_first_and_the_items_own_follow(caplog):
    caplog.set_level("INFO")
    found = listened_values(dataset(COLUMNS), settings())
    assert found == {"category": ("case", "phone"), "colour": ("blue", "red"), "screen": ("large", "small")}
    assert list(found) == ["category", "colour", "screen"]
    assert "listened to for category, colour, screen; of the items file serial, waterproof are left out" in caplog.text


def test_other_sources_have_the_domains_attributes_alone():
    assert list(listened_values(dataset(COLUMNS), settings("movielens_1m"))) == ["category"]


def test_so_many_attributes_at_most_those_that_most_items_have():
    columns = {f"a{i:02}": ["x"] * (10 + i) + [""] * (ITEMS - 10 - i) for i in range(12)}
    assert list(listened_values(dataset(columns), settings())) == [f"a{i:02}" for i in range(11, 11 - MOST, -1)]


def test_items_are_dear_or_cheap_among_those_of_their_category():
    """Cheap phones and dear cases; the finer attribute mixes five of each in a group of ten."""
    prices = [100.0 + i if i % 2 else 1.0 + i for i in range(ITEMS)]
    columns = {"category": COLUMNS["category"], "lot": [f"lot {i // 10}" for i in range(ITEMS)]}
    values = {"category": ("case", "phone"), "lot": tuple(f"lot {i}" for i in range(4))}
    catalogue = dataset(columns, prices).catalogue
    first, last = 2, ITEMS  # the cheapest and the dearest phone
    np.testing.assert_allclose(price_ranks(catalogue, values, "category")[[first, last]], [0, 1])
    np.testing.assert_allclose(price_ranks(catalogue, values)[[first, last]], [0, 4 / 9])
