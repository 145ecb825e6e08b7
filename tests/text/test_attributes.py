"""Attributes that items lack: bands by hand, texts without their values, predictions where they can be learnt."""

import dataclasses
import json

import numpy as np
import pytest

from tfrec_llm import config, training
from tfrec_llm.text.attributes import (
    BANDS,
    PRICE_BAND,
    ItemAttributes,
    bands_of,
    bare_texts,
    item_attributes,
    price_ranks,
)
from tfrec_llm.text.encoders import bulk
from tfrec_llm.text.encoders.registry import Tiny, tiny
from tfrec_llm.types import Catalogue


def catalogue(titles, colours, prices, texts=None):
    def rows(values, first):
        return np.array([first, first, *values])

    attributes = {"colour": ((), (), *colours)}
    texts = titles if texts is None else texts
    ids = rows([f"i{i}" for i in range(len(titles))], "")
    price = rows(prices, np.nan).astype(np.float32)
    return Catalogue(ids, rows(titles, ""), rows(texts, ""), attributes, price, np.ones(len(ids), bool))


def test_bands_are_thirds_among_like_items():
    dear, cheap = [100.0, 200, 300, 400, 500, 600], [1.0, 2, 3, 4, 5, 6]
    items = catalogue(["x"] * 13, [("red",)] * 6 + [("blue",)] * 6 + [()], dear + cheap + [np.nan])
    bands = bands_of(price_ranks(items, {"colour": ("blue", "red")}))
    assert bands.tolist() == [-1, -1, 0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2, -1]


def test_small_groups_are_compared_with_everything_and_equal_prices_share_a_band():
    items = catalogue(["x"] * 6, [("red",)] * 3 + [("blue",)] * 3, [1.0, 1, 1, 9, 9, 9])
    ranks = price_ranks(items, {"colour": ("blue", "red")})[2:]
    np.testing.assert_allclose(ranks, [0.2] * 3 + [0.8] * 3)
    assert bands_of(ranks).tolist() == [0, 0, 0, 2, 2, 2]


def test_an_items_own_values_are_cut_out_of_its_text():
    items = catalogue(["Red ball. RED.", "blue ball", "plain"], [("red",), ("red", "blue"), ()], [1.0, 1, 1])
    assert bare_texts(items, ("colour", "size"))[2:] == ["ball. .", "ball", "plain"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Titles of two alphabets tell the colour; a tenth of the items lack it, others lack the price."""
    draw = np.random.default_rng(1)
    red = np.arange(240) % 2 == 0
    titles = ["".join(draw.choice(list("abcdef" if r else "uvwxyz"), 8)) for r in red]
    colours = [() if i % 10 == 3 or i % 10 == 6 else ("red" if r else "blue",) for i, r in enumerate(red)]
    items = catalogue(titles, colours, np.where(np.arange(240) % 7 == 0, np.nan, np.where(red, 10.0, 1000.0)))
    settings = config.Config(
        text=config.Text(encoder=config.Component("tiny"), epochs=12, hidden=0, dropout=0.0),
        train=config.Train(precision="float32", xla="off"),
    )
    folder = tmp_path_factory.mktemp("run")
    stage = training.Stage("text", folder, folder / "work", folder / "logs")
    patch = pytest.MonkeyPatch()
    patch.setenv("TFREC_LLM_CACHE", str(tmp_path_factory.mktemp("cache")))
    found = item_attributes(tiny(Tiny()), items, {"colour": ("blue", "red")}, settings, stage)
    yield items, red, settings, stage, *found
    patch.undo()


def test_known_values_stay_and_missing_ones_are_predicted(made):
    items, red, *_, found, figures = made
    columns = found.columns([("colour", "red"), ("colour", "odd")])
    known = np.array([bool(own) for own in items.attributes["colour"]])
    assert set(np.unique(columns[known, 0])) == {0.0, 1.0}
    assert not columns[:, 1].any()
    assert not columns[:2].any()
    missing = found.predicted["colour"]
    assert missing.sum() == 48
    assert not missing[:2].any()
    assert ((columns[missing, 0] > 0.5) == red[np.flatnonzero(missing) - 2]).mean() > 0.95
    assert figures["text.items.colour_macro_f1"]["value"] > 0.95
    assert figures["text.items.colour_accuracy"]["n"] < 40


def test_a_missing_price_is_the_median_of_its_band(made):
    items, *_, found, _ = made
    lacking = np.flatnonzero(np.isnan(items.price))[2:]
    assert found.predicted[PRICE_BAND][lacking].all()
    assert set(found.price[lacking][np.isfinite(found.price[lacking])].tolist()) <= {10.0, 1000.0}
    assert np.array_equal(found.price[np.isfinite(items.price)], items.price[np.isfinite(items.price)])
    assert found.values[PRICE_BAND] == BANDS


def test_files_are_read_as_written(made, tmp_path):
    found = made[4]
    found.save(tmp_path)
    assert json.loads((tmp_path / "item_attributes.json").read_text("utf-8"))["colour"] == ["blue", "red"]
    again = ItemAttributes.load(tmp_path)
    assert again.values == found.values
    np.testing.assert_array_equal(again.probabilities, found.probabilities)
    np.testing.assert_array_equal(again.predicted["colour"], found.predicted["colour"])


def test_columns_keep_their_attributes_whatever_the_names_order(tmp_path):
    values = {"size": ("small",), "colour": ("blue", "red")}  # not in the order of the alphabet
    probabilities = np.array([[0.1, 0.2, 0.3]] * 4, np.float32)
    flags, numbers = {name: np.zeros(4, bool) for name in values}, np.zeros(4, np.float32)
    ItemAttributes(values, probabilities, flags, numbers, numbers, "colour").save(tmp_path)
    again = ItemAttributes.load(tmp_path)
    assert again.like == "colour"
    assert list(again.values) == ["size", "colour"]
    found = again.columns([("colour", "red"), ("size", "small"), ("colour", "blue")])
    np.testing.assert_allclose(found[2], [0.3, 0.1, 0.2])


def test_nothing_is_predicted_where_it_is_switched_off(made):
    items, _, settings, stage, *_ = made
    off = dataclasses.replace(settings, text=dataclasses.replace(settings.text, slots=config.Slots(predict=False)))
    found, figures = item_attributes(tiny(Tiny()), items, {"colour": ("blue", "red")}, off, stage)
    assert figures == {}
    assert not any(flags.any() for flags in found.predicted.values())


def test_only_new_texts_are_encoded(made, monkeypatch):
    """The cache knows a text by its content: a catalogue with one more item costs one text."""
    items, _, settings, stage, *_ = made
    written, write = [], bulk._write

    def counted(folder, keys, vectors):
        written.extend(keys)
        write(folder, keys, vectors)

    monkeypatch.setattr(bulk, "_write", counted)
    longer = catalogue([*items.titles[2:], "gggggggg"], [*items.attributes["colour"][2:], ()], [*items.price[2:], 5.0])
    item_attributes(tiny(Tiny()), longer, {"colour": ("blue", "red")}, settings, stage)
    assert len(written) == 1
