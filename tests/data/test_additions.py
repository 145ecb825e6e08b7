"""What becomes of a catalogue when the items file is read again, by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tfrec_llm.config import ConfigError, Data
from tfrec_llm.data import files, storage
from tfrec_llm.data.additions import look_again, part
from tfrec_llm.types import Catalogue


@pytest.fixture
def known():
    """Two trained items and one that was added later."""
    return Catalogue(
        item_ids=np.array(["", "[unknown]", "a", "b", "later"]),
        titles=np.array(["", "[unknown]", "A", "B", "Later"]),
        texts=np.array(["", "", "A.", "B.", "Later."]),
        attributes={"genre": ((), (), ("x",), ("y",), ())},
        price=np.array([np.nan, np.nan, 1, np.nan, 3], np.float32),
        available=np.array([False, False, True, True, True]),
    )


def frame(**changes):
    columns = {
        "item_id": ["later", "b", "a"],
        "title": ["Later", "B", "A"],
        "text": ["Later.", "B.", "A."],
        "genre": [(), ("y",), ("x",)],
        "price": np.array([3, np.nan, 1], np.float32),
        "available": [True, True, True],
    }
    return pd.DataFrame(columns | changes)


def test_the_same_file_changes_nothing(known):
    change = look_again(known, 4, frame())
    assert change.is_none
    assert not change.waiting
    assert change.catalogue.item_ids.tolist() == known.item_ids.tolist()


def test_an_item_that_the_file_never_had_stays(known):
    nameless = replace(known, titles=known.titles.copy(), texts=known.texts.copy(), attributes={"genre": ((),) * 5})
    nameless.titles[3], nameless.texts[3] = "b", ""
    left = frame().drop(1).reset_index(drop=True)
    assert look_again(nameless, 4, left).gone == ()
    assert look_again(known, 4, left).gone == ("b",)


def test_new_items_come_behind_the_known_ones_in_the_order_of_their_ids(known):
    new = frame(item_id=["zz", "c", "a"], title=["Z", "C", "A"], text=["Z.", "C.", "A."], genre=[("x",), (), ("x",)])
    change = look_again(known, 4, new)
    assert change.added == ("c", "zz")
    assert change.gone == ("b", "later")
    catalogue = change.catalogue
    assert catalogue.item_ids.tolist() == ["", "[unknown]", "a", "b", "later", "c", "zz"]
    assert catalogue.available.tolist() == [False, False, True, False, False, True, True]
    assert catalogue.attributes["genre"][5:] == ((), ("x",))
    np.testing.assert_array_equal(catalogue.price[4:], np.array([3, np.nan, 3], np.float32))
    assert look_again(catalogue, 4, frame()).back == ("b", "later")


def test_trained_items_keep_what_they_were_trained_with_and_later_ones_do_not(known):
    told = frame(
        title=["Later", "Bee", "A"], text=["Other.", "Bee.", "A."], genre=[("y",), ("z",), ("x",)],
        price=np.array([3, 9, 2], np.float32),
    )  # fmt: skip
    change = look_again(known, 4, told)
    assert (change.retold, change.waiting) == (("a", "b", "later"), ("b",))
    assert change.catalogue.titles.tolist()[2:] == ["A", "Bee", "Later"]
    assert change.catalogue.texts.tolist()[2:] == ["A.", "B.", "Other."]
    assert change.catalogue.attributes["genre"][2:] == (("x",), ("y",), ("y",))
    assert change.catalogue.price.tolist()[2:] == [2, 9, 3]
    assert look_again(change.catalogue, 4, told).is_none


def test_what_is_not_available_is_gone_and_an_attribute_that_the_file_lacks_is_unknown(known):
    change = look_again(known, 5, frame(available=[True, False, True]).drop(columns="genre"))
    assert change.gone == ("b",)
    assert change.waiting == ("a", "b")
    new = frame(item_id=["later", "b", "c"]).drop(columns="genre")
    assert look_again(known, 5, new).catalogue.attributes["genre"] == ((), (), ("x",), ("y",), (), ())


def test_a_catalogue_is_kept_and_cut(known, tmp_path):
    storage.write_catalogue(known, tmp_path)
    kept = storage.read_catalogue(tmp_path)
    assert kept.attributes == known.attributes
    assert look_again(kept, 4, frame()).is_none
    cut = part(kept, [4])
    assert cut.item_ids.tolist() == ["", "[unknown]", "later"]
    assert cut.attributes == {"genre": ((), (), ())}
    (tmp_path / "catalogue.npz").write_bytes(b"no")
    with pytest.raises(ValueError, match="expected arrays, got a damaged file"):
        storage.read_catalogue(tmp_path)


def test_only_files_of_ones_own_can_get_new_items(tmp_path):
    with pytest.raises(ConfigError, match=r"data.items: expected an items file .* got source = 'movielens_1m'"):
        files.read_catalogue(Data(items="items.csv"))
    with pytest.raises(ConfigError, match="items = ''"):
        files.read_catalogue(Data(source="files", interactions="events.csv"))


def test_items_without_events_are_read_too(tmp_path):
    (tmp_path / "items.csv").write_text("item_id,title,price,genre\nb,,3,x|y\na,A,,\n")
    items = files.read_catalogue(Data(source="files", items=str(tmp_path / "items.csv")))
    assert items["title"].tolist() == ["b", "A"]
    assert items["genre"].tolist() == [("x", "y"), ()]
    assert items["available"].all()
