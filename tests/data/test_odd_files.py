"""A user's own files with cells that are rarely seen: lists as ids, dates far ahead, shops where nothing is on sale."""

import numpy as np
import pandas as pd
import pytest

from tests.data.conftest import HEADER
from tests.data.test_files import events, load
from tests.data.test_item_files import ITEMS


def written(path, header, rows):
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("cells", [[["u1"], ["u2"]] * 6, [b"u1", b"u2"] * 6])
def test_ids_in_parquet_that_are_no_single_values(tmp_path, cells):
    frame = pd.DataFrame({"user_id": cells, "item_id": list("ab") * 6, "timestamp": range(12)})
    frame.to_parquet(tmp_path / "events.parquet")
    with pytest.raises(ValueError, match=r"events\.parquet: column 'user_id': expected an id, got at row 1"):
        load(str(tmp_path / "events.parquet"))


def test_a_date_far_ahead_is_a_date(tmp_path):
    path = written(tmp_path / "events.csv", HEADER, [*events(), "u1,a,9999-12-31,x,1"])
    assert load(path).interactions.time.max() == 253_402_214_400


def test_no_item_that_may_be_shown(tmp_path):
    rows = [f"{name},{name.upper()},,1,no,," for name in "abcd"]
    items = written(tmp_path / "items.csv", ITEMS, rows)
    with pytest.raises(ValueError, match=r"column 'available': expected true somewhere, got at line 2: 'no'"):
        load(written(tmp_path / "events.csv", HEADER, events()), items=items)


def test_columns_that_are_not_read_are_named(tmp_path, caplog):
    rows = [f"u{user},{item},{time},{1 + time % 5}" for user in range(3) for time, item in enumerate("abcd")]
    path = written(tmp_path / "events.csv", "user_id,item_id,timestamp,rating", rows)
    assert set(load(path).interactions.event) == {8}  # a film that was watched: nobody said what `rating` is
    assert "events.csv: columns 'rating' are not used" in caplog.text
    assert "data.columns = { value = 'rating' }" in caplog.text
    assert set(load(path, columns={"value": "rating"}).interactions.event) == {2, 3, 4, 5}


def test_events_without_a_name_are_read_from_their_values(tmp_path):
    rows = [f"u{user},{item},{time},,{1 + time}" for user in range(3) for time, item in enumerate("abcd")]
    rows[0] = "u0,a,0,watch,"
    dataset = load(written(tmp_path / "events.csv", HEADER, rows))
    assert dataset.interactions.event.tolist() == [8, 3, 4, 5] + [2, 3, 4, 5] * 2


def test_days_as_numbers_are_days(tmp_path, caplog):
    caplog.set_level("INFO")
    rows = [f"u{user},{item},2023011{day},," for user in range(3) for day, item in enumerate("abcd")]
    dataset = load(written(tmp_path / "events.csv", HEADER, rows))
    assert np.diff(dataset.interactions.time[:4]).tolist() == [86_400] * 3
    assert "timestamp from 2023-01-10T00:00:00 to 2023-01-13T00:00:00 (UTC)" in caplog.text
    rows = [f"u{user},{item},2023011{day}T101010,," for user in range(3) for day, item in enumerate("abcd")]
    assert load(written(tmp_path / "events.csv", HEADER, rows)).interactions.time[0] == 1673345410


def test_what_says_nothing_about_an_item_is_no_attribute_of_it(tmp_path):
    """Addresses and counts of reviews; years and codes of shelves are names."""
    names = [f"i{n}" for n in range(100)]
    rows = [f"{name},Thing,https://x.org/{n}?q=1,{n * n},{1950 + n % 40},red,blue" for n, name in enumerate(names)]
    header = "item_id,title,url,num_reviews,year,category,categories"
    items = written(tmp_path / "items.csv", header, rows)
    log = [f"u{user},{item},{time},," for user in range(3) for time, item in enumerate(names)]
    catalogue = load(written(tmp_path / "events.csv", HEADER, log), items=items).catalogue
    assert {name: values[2] for name, values in catalogue.attributes.items()} == {
        "year": ("1950",),
        "category": ("red", "blue"),
    }
    assert catalogue.texts[2] == "Thing. 1950. red, blue."
