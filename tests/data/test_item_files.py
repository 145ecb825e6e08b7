"""A user's own items file: what is read, what is told, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from tests.data.test_files import events, load

ITEMS = "item_id,title,text,price,available,colour,score"


def items(*changed):
    rows = {i: f"{i},Thing {i},,2.5,yes,red|blue,0.5" for i in "abcd"} | {row[0]: row for row in changed}
    return list(rows.values())


def test_item_columns(write):
    path = write(*items("b,,Useful.,,no,,1"), header=ITEMS, name="items.csv")
    catalogue = load(write(*events()), items=path).catalogue
    assert catalogue.titles[2:4].tolist() == ["Thing a", "b"]
    assert catalogue.texts[2:4].tolist() == ["Thing a. red, blue.", "Useful."]  # an id says nothing
    assert catalogue.attributes == {"colour": ((), (), ("red", "blue"), (), ("red", "blue"), ("red", "blue"))}
    assert catalogue.available.tolist() == [False, False, True, False, True, True]
    assert np.isnan(catalogue.price[[0, 1, 3]]).all()


def test_items_in_parquet_with_lists_and_vectors(write, tmp_path):
    frame = pd.DataFrame({"item_id": list("abcd"), "title": list("ABCD")})
    frame["categories"], frame["vector"] = [["x", "y"], [], ["z"], None], [[0.5, 1.0]] * 4
    frame.to_parquet(tmp_path / "items.parquet")
    catalogue = load(write(*events()), items=str(tmp_path / "items.parquet")).catalogue
    assert catalogue.attributes == {"category": ((), (), ("x", "y"), (), ("z",), ())}


BAD_ITEMS = {
    "negative price": ("b,B,,-1,yes,,", "column 'price': expected a price of at least 0, got at line 3: '-1'"),
    "available": ("b,B,,1,maybe,,", "column 'available': expected true or false, got at line 3: 'maybe'"),
}


@pytest.mark.parametrize("case", BAD_ITEMS)
def test_bad_items(write, case):
    row, message = BAD_ITEMS[case]
    with pytest.raises(ValueError, match=rf"items\.csv: {message}"):
        load(write(*events()), items=write(*items(row), header=ITEMS, name="items.csv"))


def test_items_that_the_items_file_lacks_are_known_by_their_ids_while_they_are_few(write, caplog):
    path = write(*items()[:3], header=ITEMS, name="items.csv")
    few = [f"{user},d,9,x,1" for user in ("u1", "u2")]
    dataset = load(write(*(row for row in events() if ",d," not in row), *few), items=path)
    catalogue = dataset.catalogue
    row = catalogue.item_ids.tolist().index("d")
    assert (catalogue.titles[row], catalogue.texts[row], catalogue.attributes["colour"][row]) == ("d", "", ())
    assert "1 items of 2 events are not in it, such as 'd'" in caplog.text
    many = [f"u{user},z,{user},x,1" for user in range(20)]
    message = r"events\.csv: column 'item_id': expected an item of .*items\.csv.* line \d+: '[dz]'"
    with pytest.raises(ValueError, match=message):
        load(write(*events(), *many), items=path)


def test_of_an_item_twice_the_first_row_counts(write, caplog):
    path = write(*items(), "a,again,,,,,", header=ITEMS, name="items.csv")
    assert load(write(*events()), items=path).catalogue.titles[2] == "Thing a"
    assert "1 rows repeat an id, such as 'a'" in caplog.text


def test_prices_with_signs_and_commas_are_read_and_others_are_unknown(write, caplog):
    rows = ["a,A,,$12.99,yes,,", 'b,B,,"EUR 1,299.50",yes,,', "c,C,,3 - 4,yes,,", "d,D,,￥5元,yes,,"]
    prices = load(write(*events()), items=write(*rows, header=ITEMS, name="items.csv")).catalogue.price
    np.testing.assert_allclose(prices[2:], [12.99, 1299.5, np.nan, 5.0], rtol=1e-6)
    assert "1 cells such as '3 - 4' are no price" in caplog.text
    rows = [f"{item},{item},,cheap,yes,," for item in "abcd"]
    with pytest.raises(ValueError, match=r"column 'price': expected a price such as 12\.99, got at line 2: 'cheap'"):
        load(write(*events()), items=write(*rows, header=ITEMS, name="items.csv"))
