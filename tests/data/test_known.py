"""Vectors of items, image files and user attributes from a user's own files."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from tfrec_llm.config import ConfigError, Data
from tfrec_llm.data import known, load_dataset, load_domain
from tfrec_llm.data.cells import is_measure, read_vectors
from tfrec_llm.data.tables import read_table


@pytest.fixture
def settings(tmp_path):
    """Twelve users who see the items a to d; items and users files beside them."""
    events = [f"u{u:02},{i},{1000 + 10 * n}" for u in range(12) for n, i in enumerate("abcd")]
    (tmp_path / "events.csv").write_text("\n".join(["user_id,item_id,timestamp", *events]) + "\n")
    items = ["a,A,0.5 1.5,a.png", 'b,B,"[1, 2]",', "c,C,,c.png", "d,D,3 4,d.png", "z,never used,5 6,"]
    (tmp_path / "items.csv").write_text("\n".join(["item_id,title,look,image_path", *items]) + "\n")
    users = [f"u{u:02},{'F' if u % 2 else 'M'},{u}," for u in range(11)]
    (tmp_path / "users.csv").write_text("\n".join(["user_id,gender,age,occupation", *users, "u99,F,1,"]) + "\n")
    names = {name: str(tmp_path / f"{name}.csv") for name in ("items", "users")}
    return Data(source="files", interactions=str(tmp_path / "events.csv"), min_item_count=1, **names)


@pytest.fixture
def dataset(settings):
    loaded = load_dataset(settings, 1)
    return dataclasses.replace(loaded, domain=dataclasses.replace(loaded.domain, use_attributes=True))


def test_vectors_come_in_the_order_of_the_catalogue(settings, dataset):
    values, present = known.item_columns(settings, {"image": "look"}, dataset.catalogue)["image"]
    assert dataset.catalogue.item_ids.tolist() == ["", "[unknown]", "a", "b", "c", "d"]
    np.testing.assert_array_equal(values, [[0, 0], [0, 0], [0.5, 1.5], [1, 2], [0, 0], [3, 4]])
    assert present.tolist() == [False, False, True, True, False, True]
    assert known.item_columns(settings, {}, dataset.catalogue) == {}


def test_of_an_item_twice_the_first_vector_counts(settings, dataset):
    with open(settings.items, "a") as file:
        file.write("a,again,9 9,\n")
    values, _ = known.item_columns(settings, {"image": "look"}, dataset.catalogue)["image"]
    np.testing.assert_array_equal(values[2:4], [[0.5, 1.5], [1, 2]])


def test_a_column_of_vectors_is_no_attribute_and_not_said(dataset):
    assert set(dataset.catalogue.attributes) == {"image_path"}
    assert dataset.catalogue.texts[2] == "A."


def test_lists_in_parquet_are_vectors_too(tmp_path):
    frame = pd.DataFrame({"item_id": ["a", "b"], "look": [[0.5, 1.0], None], "word": ["x y", "z"], "year": ["1", "2"]})
    frame.to_parquet(tmp_path / "items.parquet")
    table = read_table(tmp_path / "items.parquet", ("item_id",))
    values, present = read_vectors(table, "look")
    np.testing.assert_array_equal(values, [[0.5, 1.0], [0, 0]])
    assert present.tolist() == [True, False]
    assert [is_measure(table, name) for name in ("look", "word", "year")] == [True, False, False]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["1 2", "1 x", "3 4"], r"column 'v': expected finite numbers, got at line 3: '1 x'"),
        (["1 2", "1 nan", "3 4"], r"expected finite numbers, got at line 3"),
        (["1 2", "1 2 3", "3 4"], r"expected 2 numbers, as in most rows, got at line 3: '1 2 3'"),
    ],
)
def test_cells_that_are_no_vectors_are_refused(tmp_path, cells, message):
    path = tmp_path / "items.csv"
    path.write_text("\n".join(["item_id,v", *(f"i{n},{cell}" for n, cell in enumerate(cells))]) + "\n")
    with pytest.raises(ValueError, match=message):
        read_vectors(read_table(path, ("item_id",)), "v")


def test_a_missing_column_or_file_is_refused(settings, dataset):
    with pytest.raises(ValueError, match="column 'loom' is missing"):
        known.item_columns(settings, {"image": "loom"}, dataset.catalogue)
    with pytest.raises(ConfigError, match=r"modalities\.columns: expected data\.items with look"):
        known.item_columns(dataclasses.replace(settings, items=""), {"image": "look"}, dataset.catalogue)


def test_image_files_lie_beside_the_items_file(settings, dataset, tmp_path):
    files = known.image_files(settings, dataset.catalogue)
    assert files == ["", "", str(tmp_path / "a.png"), "", str(tmp_path / "c.png"), str(tmp_path / "d.png")]


def test_attributes_come_in_the_order_of_users_and_domain(settings, dataset):
    people = known.user_attributes(settings, dataset)
    assert people.shape == (12, 3)
    assert people[0].tolist() == ["M", "0", ""]
    assert people[11].tolist() == ["", "", ""]  # the file does not know u11
    values = known.attribute_values(people, dataset, 5)
    assert values == {"gender": ("F", "M"), "age": (), "occupation": ()}


def test_only_users_who_are_trained_on_say_which_values_there_are(settings, dataset):
    people = known.user_attributes(settings, dataset)
    train = dataset.split.train & (dataset.interactions.user % 2 == 0)
    fewer = dataclasses.replace(dataset, split=dataclasses.replace(dataset.split, train=train))
    assert known.attribute_values(people, fewer, 1)["gender"] == ("M",)


def test_attributes_without_a_file_are_refused(settings, dataset):
    with pytest.raises(ConfigError, match=r"expected data\.users with user_id, gender"):
        known.user_attributes(dataclasses.replace(settings, users=""), dataset)
    assert not load_domain("video").use_attributes
