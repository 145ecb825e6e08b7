"""Files that the settings of the text stage name are its inputs."""

import os

import pytest

from tfrec_llm import config, text
from tfrec_llm.text import outside


def settings(**groups) -> config.Config:
    return config.Config(text=config.Text(**groups))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model" / "1_Pooling").mkdir(parents=True)
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "1_Pooling" / "config.json").write_text("{}")
    (tmp_path / "index.sense").write_text("word")
    (tmp_path / "free.csv").write_text("text\nhello\n")
    return tmp_path


def named(folder):
    """Settings that name the folder's files, and the one that each of them reads."""
    model, inner = str(folder / "model"), folder / "model" / "1_Pooling" / "config.json"
    return [
        (settings(encoder=config.Component("bert", {"path": model})), inner),
        (settings(little=config.Little(unlabelled=str(folder / "free.csv"))), folder / "free.csv"),
        (settings(augment=config.Augment(wordnet=str(folder))), folder / "index.sense"),
        (settings(augment=config.Augment(back_translation={"en": (f"{model} >>cmn_Hans<<", model)})), inner),
    ]


def test_a_changed_file_is_a_changed_input(folder):
    for chosen, path in named(folder):
        before = text.outside_files(chosen)
        assert str(path) in before["files"]
        assert text.outside_files(chosen) == before
        path.write_text(path.read_text() + "more")
        assert text.outside_files(chosen) != before


def test_large_files_are_known_by_size_and_time(folder, monkeypatch):
    monkeypatch.setattr(outside, "LARGE", 3)
    chosen, path = named(folder)[1]
    before = text.outside_files(chosen)
    os.utime(path, ns=(1, 1))
    assert text.outside_files(chosen) == {"files": {str(path): f"{path.stat().st_size} bytes of 1"}} != before


def test_settings_that_name_no_file_add_no_input():
    hub = config.Component("bert", {"path": "owner/model"})
    for chosen in (settings(), settings(encoder=hub), settings(little=config.Little(unlabelled="rest"))):
        assert text.outside_files(chosen) == {}
