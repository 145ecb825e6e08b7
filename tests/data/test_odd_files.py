"""A user's own files with cells that are rarely seen: lists as ids, dates far ahead, shops where nothing is on sale."""

import pandas as pd
import pytest

from tests.data.test_files import HEADER, ITEMS, events, load


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
