"""An export that is not whole is refused before anything opens it."""

import hashlib
import json

import pytest

from tfrec_llm.serving.manifest import check_manifest, differs_in, fusion_of, items_of, write_manifest


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "variables").mkdir()
    contents = {"saved_model.pb": b"graph", "variables/data": b"numbers"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    (tmp_path / "manifest.json").write_text(json.dumps({"version": 1, "files": files}))
    return tmp_path


def test_a_whole_one_passes_whatever_else_lies_there(folder):
    (folder / "more").write_text("more")
    check_manifest(folder)


@pytest.mark.parametrize("content", [b"number", b"numberS", b""])
def test_a_changed_file_is_named(folder, content):
    (folder / "variables" / "data").write_bytes(content)
    with pytest.raises(ValueError, match="expected variables/data as the manifest says, got it missing or changed"):
        check_manifest(folder)


def test_a_missing_file_is_named(folder):
    (folder / "saved_model.pb").unlink()
    with pytest.raises(ValueError, match=r"expected saved_model\.pb as the manifest says"):
        check_manifest(folder)


@pytest.mark.parametrize("manifest", [None, "", "[]", "{}", '{"files": []}', '{"files": {}}', "\xff"])
def test_a_foreign_folder_is_refused(folder, manifest):
    (folder / "manifest.json").unlink()
    if manifest is not None:
        (folder / "manifest.json").write_text(manifest, "latin-1")
    with pytest.raises(ValueError, match="run `make export`"):
        check_manifest(folder)


def test_a_version_is_judged_by_its_own_files_where_the_one_before_cannot_be_read(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    check_manifest(folder, trusted=other)
    assert not differs_in(other, folder, ["variables/data"])
    with pytest.raises(ValueError, match="run `make export`"):
        differs_in(folder, other, ["variables/data"])


def test_what_a_version_comes_from_goes_on_in_those_made_of_it(folder, tmp_path):
    assert (fusion_of(folder), items_of(folder)) == ("", "")
    write_manifest(folder, 1, fusion="fused", items="added")
    (tmp_path / "2").mkdir()
    write_manifest(tmp_path / "2", 2, folder)
    assert (fusion_of(tmp_path / "2"), items_of(tmp_path / "2")) == ("fused", "added")
