"""A user's own files: what is read, and every kind of bad input with the message it gets."""

import gzip
import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tfrec_llm.config import ConfigError, Data
from tfrec_llm.data.datasets import load_dataset

SAMPLE = {"interactions": "data/sample/interactions.csv", "items": "data/sample/items.csv"}


def events(users=("u1", "u2", "u3"), items=("a", "b", "c", "d")):
    return [f"{u},{i},{1000 + 10 * n},rated_{1 + n},{1 + n}" for u in users for n, i in enumerate(items)]


def load(path, items="", **settings):
    return load_dataset(Data(source="files", interactions=path, items=items, min_item_count=1, **settings), seed=1)


def test_sample_files(request):
    root = request.config.rootpath
    paths = {name: str(root / path) for name, path in SAMPLE.items()}
    dataset = load_dataset(Data(source="files", **paths), seed=1)
    assert dataset.protocol["items"] == 23  # of 24: one has fewer than five events
    assert len(dataset.split.test.user) == 32
    row = dataset.catalogue.item_ids.tolist().index("film-01")
    assert dataset.catalogue.attributes["genre"][row] == ("Drama", "Romance")
    assert dataset.catalogue.price[row] == 3.5
    assert dataset.catalogue.texts[row].startswith("The Paper Lighthouse. A keeper's daughter")
    assert not dataset.catalogue.available[dataset.catalogue.item_ids.tolist().index("film-20")]


def test_events_become_indices(write):
    dataset = load(write(*events()))
    data = dataset.interactions
    assert data.user.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert data.item.tolist() == [2, 3, 4, 5] * 3
    assert data.event.tolist() == [2, 3, 4, 5] * 3  # rated_1 is the first event type of the domain
    assert data.value[:4].tolist() == [1, 2, 3, 4]
    assert dataset.catalogue.titles.tolist() == ["", "[unknown]", "a", "b", "c", "d"]
    assert not any(dataset.catalogue.texts)  # ids are shown, and never read as if they said something


def test_columns_can_be_mapped(write):
    rows = [f"{a},{b},{t}" for a, b, t, *_ in (row.split(",") for row in events())]
    path = write(*rows, header="customer,sku,when")
    dataset = load(path, columns={"user_id": "customer", "item_id": "sku", "timestamp": "when"})
    assert dataset.protocol["interactions"] == 12
    assert set(dataset.interactions.event) == {8}  # neither type nor value is known: watch
    with pytest.raises(ConfigError, match=r"data\.columns: expected names among .* got 'usr'"):
        load(path, columns={"usr": "customer"})


def test_ratings_without_event_types(write):
    rows = [",".join([*row.split(",")[:3], "4"]) for row in events()]
    dataset = load(write(*rows, header="user_id,item_id,timestamp,value"))
    assert set(dataset.interactions.event) == {5}  # rated_4


@pytest.mark.parametrize(
    ("values", "events_wanted"),
    [
        (("0.5", "2.5", "5", ""), [2, 4, 6, 8]),  # ratings with halves, one missing
        (("1", "1", "1", "1"), [8] * 4),  # a column of ones says that it happened
        (("1", "3", "17", "2"), [8] * 4),  # plays, not ratings
    ],
)
def test_values_without_event_types(write, values, events_wanted, caplog):
    rows = [",".join([*row.split(",")[:3], values[place % 4]]) for place, row in enumerate(events())]
    dataset = load(write(*rows, header="user_id,item_id,timestamp,value"))
    assert dataset.interactions.event.tolist() == events_wanted * 3
    assert dataset.interactions.value[:4].tolist() == [float(value or 1) for value in values]
    assert ("are no ratings" in caplog.text) == (set(events_wanted) == {8})


def test_iso_8601_and_parquet(write, tmp_path):
    iso = [row.replace(",10", ",1970-01-01T00:16:").replace(":00,", ":40Z,") for row in ("u1,a,1000,rated_1,1",)]
    rows = [*iso, *events(("u2", "u3")), "u1,b,1970-01-01 08:17:00+08:00,rated_2,2", "u1,c,1100.9,rated_3,3"]
    assert load(write(*rows)).interactions.time[:3].tolist() == [1000, 1020, 1100]
    frame = pd.DataFrame(
        {
            "user_id": np.repeat([7, 8], 3),
            "item_id": [1.0, 2.0, 3.0] * 2,
            "timestamp": pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03"] * 2),
        }
    )
    frame.to_parquet(tmp_path / "events.parquet")
    dataset = load(str(tmp_path / "events.parquet"))
    assert dataset.interactions.time[0] == 1577836800
    assert dataset.interactions.user_ids.tolist() == ["7", "8"]
    assert dataset.catalogue.item_ids[2:].tolist() == ["1", "2", "3"]


def test_ids_with_spaces_emoji_and_300_characters(write):
    strange = (" my cat ", "🦊🎬", "x" * 300, "NA", "007")
    dataset = load(write(*events(users=strange, items=strange)))
    assert sorted(strange) == dataset.interactions.user_ids.tolist()
    assert sorted(strange) == dataset.catalogue.item_ids[2:].tolist()


def test_duplicates_are_dropped_and_counted(write, caplog):
    with caplog.at_level(logging.INFO):
        dataset = load(write(*events(), *events()[:2]))
    assert dataset.protocol["interactions"] == 12
    assert "2 duplicate events dropped" in caplog.text


BAD_EVENTS = {
    "words as time": ("u1,a,soon,x,1", r"column 'timestamp': expected seconds .* got at line 14: 'soon'; correct"),
    "today": ("u1,a,today,x,1", "column 'timestamp'.*line 14: 'today'"),
    "negative time": ("u1,a,-5,x,1", "column 'timestamp'.*line 14: '-5'"),
    "time before 1970": ("u1,a,1969-12-31,x,1", "column 'timestamp'.*line 14: '1969-12-31'"),
    "NaN time": ("u1,a,NaN,x,1", "column 'timestamp'.*line 14: 'NaN'"),
    "no time": ("u1,a,,x,1", "column 'timestamp'.*line 14: ''"),
    "infinite time": ("u1,a,inf,x,1", "column 'timestamp'.*line 14: 'inf'"),
    "milliseconds": ("u1,a,1700000000000000,x,1", "column 'timestamp'.*divide by 1000"),
    "words as value": ("u1,a,5,x,good", "column 'value': expected a number, got at line 14: 'good'"),
    "value beyond single precision": (
        "u1,a,5,x,1e39",
        "column 'value': expected a number of at most 3.4e38, .*line 14",
    ),
    "NaN value": ("u1,a,5,x,NaN", "column 'value'.*line 14: 'NaN'"),
    "no user": (",a,5,x,1", "column 'user_id': expected an id .* line 14: ''"),
    "line break in an id": ('"u\n1",a,5,x,1', r"column 'user_id'.*line 14: 'u\\n1'"),
    "reserved id": ("u1,[unknown],5,x,1", "column 'item_id'.*line 14: '\\[unknown\\]'"),
    "giant id": (f"{'u' * 200_000},a,5,x,1", r"column 'user_id': expected an id \(1 to 1000 .* line 14: 'uuu"),
    "NUL": ("u1,a\0b,5,x,1", "line 14: expected text, got a NUL"),
}


@pytest.mark.parametrize("case", BAD_EVENTS)
def test_bad_events(write, case):
    row, message = BAD_EVENTS[case]
    path = write(*events(), row)
    with pytest.raises(ValueError, match=f"{re.escape(path)}: .*{message}|{re.escape(path)}: {message}"):
        load(path)


def test_only_the_first_bad_rows_are_named_with_the_lines_of_the_file(write):
    rows = ['u1,b,5,"two\nlines",1', "", *(f"u2,a,bad{n},x,1" for n in range(7))]
    expected = "line 5: 'bad0', 6: 'bad1', 7: 'bad2', 8: 'bad3', 9: 'bad4' and 2 more"
    with pytest.raises(ValueError, match=expected):
        load(write(*rows))


def test_missing_column(write):
    path = write("u1,a,5", header="user,item_id,timestamp")
    with pytest.raises(ValueError, match=r"events\.csv: column 'user_id' is missing, got 'user', .*user_id = 'user'"):
        load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a header and rows, got an empty file"),
        (b"user_id,item_id,timestamp\n", "expected rows, got only a header"),
        ("user_id,item_id,timestamp\nu1,a,1\né1,b,2\n".encode("latin-1"), "line 3: expected UTF-8, got the byte 0xe9"),
        ("user_id,item_id,timestamp\nu1,a,1\n".encode("utf-16"), "line 1: expected UTF-8, got the byte 0xff"),
        (b"user_id,item_id,timestamp\nu1,a,1\nu1,a,1,2,3\n", "expected as many cells as the header"),
        (b"user_id,item_id,timestamp\nu1,a,1,2\nu1,a,1,2\n", "expected as many cells as the header"),
    ],
)
def test_bad_csv(tmp_path, content, message):
    path = tmp_path / "events.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"events\.csv: {message}"):
        load(str(path))


def test_bad_paths(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.csv: expected a file, got none; correct the path"):
        load(str(tmp_path / "nowhere.csv"))
    with pytest.raises(ValueError, match=r"events\.xlsx: expected a file ending in \.csv"):
        load(str(tmp_path / "events.xlsx"))
    with pytest.raises(ConfigError, match=r"data\.interactions: expected a path"):
        load("")


def test_truncated_parquet(tmp_path):
    path = tmp_path / "events.parquet"
    pd.DataFrame({"user_id": ["a"], "item_id": ["b"], "timestamp": [1]}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"events\.parquet: expected Parquet, got a damaged file"):
        load(str(path))
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"events\.parquet: expected Parquet, got an empty file"):
        load(str(path))


def test_bad_rows_of_parquet_are_counted_from_one(tmp_path):
    path = tmp_path / "events.parquet"
    pd.DataFrame({"user_id": ["a", None], "item_id": ["b", "c"], "timestamp": [1, 2]}).to_parquet(path)
    with pytest.raises(ValueError, match=r"column 'user_id'.*row 2: nan"):
        load(str(path))


@pytest.mark.parametrize(("column", "which"), [("user_id", {"users": ("u1",)}), ("item_id", {"items": ("a",)})])
def test_a_single_user_or_item(write, column, which):
    with pytest.raises(
        ValueError, match=rf"events\.csv: column '{column}': expected at least 2 different ids, got only"
    ):
        load(write(*events(**which)))


def test_a_single_item_after_the_filter(write):
    path = write(*events(), "u4,a,7,rated_1,1")
    with pytest.raises(ValueError, match=r"expected at least 2 items, got 1 \('a'\).*lower data\.min_item_count"):
        load_dataset(Data(source="files", interactions=path, min_item_count=4), seed=1)


def test_times_in_milliseconds_are_read_where_all_are(write, caplog):
    rows = [row.split(",") for row in events()]
    rows = [",".join([*row[:2], str(1_700_000_000_000 + int(row[2]) * 1000), *row[3:]]) for row in rows]
    times = load(write(*rows)).interactions.time
    assert (times.min(), times.max()) == (1_700_001_000, 1_700_001_030)
    assert "read as milliseconds" in caplog.text


def test_headers_in_capitals_and_files_packed_by_gzip(write, tmp_path):
    path = Path(write(*events(), header="User_ID, item_id,Timestamp,event,value"))
    packed = tmp_path / "events.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert load(str(packed)).protocol["interactions"] == 12
    packed.write_bytes(packed.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"events\.csv\.gz: expected a file packed by gzip"):
        load(str(packed))


def test_users(write):
    good = write("u1,3", header="user_id,age", name="users.csv")
    assert load(write(*events()), users=good).protocol["users"] == 3
    bad = write("u1,3", "u1,4", header="user_id,age", name="users.csv")
    with pytest.raises(ValueError, match=r"users\.csv: column 'user_id': expected each id once, got at line 3"):
        load(write(*events()), users=bad)


def test_utterances_are_checked_with_the_rest(write):
    path = write("hello,u1,5,browse", "你好,u2,6,", header="text,user_id,timestamp,intent", name="said.csv")
    assert load(write(*events()), utterances=path).protocol["interactions"] == 12
    path = write("hello", '" "', header="text", name="said.csv")
    with pytest.raises(ValueError, match=r"said\.csv: column 'text': expected a sentence, got at line 3"):
        load(write(*events()), utterances=path)
    path = write("hello,5", "again,soon", header="text,timestamp", name="said.csv")
    with pytest.raises(ValueError, match=r"said\.csv: column 'timestamp': .* got at line 3: 'soon'"):
        load(write(*events()), utterances=path)
