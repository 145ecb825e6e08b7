"""A dataset on the disk: the same after reading, equal bytes, damage named."""

import dataclasses
import shutil

import numpy as np
import pytest

from tfrec_llm.config import Data
from tfrec_llm.data import load_dataset, read_dataset, write_dataset

SMALL = Data(source="synthetic", synthetic_users=20, synthetic_items=30, synthetic_events=12)


@pytest.fixture
def dataset():
    return load_dataset(SMALL, seed=1)


def same(a, b):
    if dataclasses.is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    return a == b and type(a) is type(b)


def test_read_gives_what_was_written(dataset, tmp_path):
    write_dataset(dataset, tmp_path)
    assert same(dataset, read_dataset(tmp_path))


def test_equal_datasets_give_equal_bytes(dataset, tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder, data in zip(folders, (dataset, load_dataset(SMALL, seed=1)), strict=True):
        folder.mkdir()
        write_dataset(data, folder)
    names = sorted(path.name for path in folders[0].iterdir())
    assert names == ["catalogue.json", "dataset.json", "events.npz", "split.npz"]
    assert all((folders[0] / n).read_bytes() == (folders[1] / n).read_bytes() for n in names)


def test_ids_of_any_kind_survive(dataset, tmp_path):
    ids = dataset.catalogue.item_ids.astype("U300")
    ids[2:5] = [" a b ", "🦊🎬", "x" * 300]
    changed = dataclasses.replace(dataset.catalogue, item_ids=ids)
    odd = dataclasses.replace(dataset, catalogue=changed)
    write_dataset(odd, tmp_path)
    with pytest.raises(ValueError, match="expected ids, events and split with sha256"):
        read_dataset(tmp_path)  # ids are part of the protocol


@pytest.mark.parametrize("name", ["catalogue.json", "dataset.json", "events.npz", "split.npz"])
def test_missing_and_damaged_files_are_named(dataset, tmp_path, name):
    whole = tmp_path / "whole"
    whole.mkdir()
    write_dataset(dataset, whole)
    for kind in ("missing", "cut", "empty"):
        folder = shutil.copytree(whole, tmp_path / kind)
        half = (folder / name).read_bytes()[: (folder / name).stat().st_size // 2]
        (folder / name).unlink()
        if kind != "missing":
            (folder / name).write_bytes(half if kind == "cut" else b"")
        with pytest.raises(ValueError, match=rf"{name}: expected .* got .*run `make data` again"):
            read_dataset(folder)


def test_arrays_that_do_not_fit_the_protocol(dataset, tmp_path):
    write_dataset(dataset, tmp_path)
    arrays = dict(np.load(tmp_path / "split.npz"))
    arrays["train"] = ~arrays["train"]
    np.savez(tmp_path / "split.npz", **arrays)
    with pytest.raises(ValueError, match=r"expected ids, events and split with sha256"):
        read_dataset(tmp_path)
    del arrays["half_b"]
    np.savez(tmp_path / "split.npz", **arrays)
    with pytest.raises(ValueError, match=r"got 'half_b'; run `make data` again"):
        read_dataset(tmp_path)
