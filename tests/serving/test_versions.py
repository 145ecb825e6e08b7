"""Which version is served, what a rollback goes back to, and what is deleted."""

import threading

import pytest

from tfrec_llm.serving import versions


@pytest.fixture
def folder(tmp_path):
    for version in (1, 2, 3, 10):
        (tmp_path / str(version)).mkdir()
    (tmp_path / ".11.partial").mkdir()
    return tmp_path


def test_without_labels_the_newest_is_served(folder, tmp_path):
    assert versions.served_version(folder) == versions.newest_version(folder) == 10
    assert versions.served_version(tmp_path / "nowhere") == 0


def test_what_was_promoted_is_served_and_models_config_says_the_same(folder):
    versions.promote(folder, 2)
    versions.try_out(folder, 3)
    assert versions.served_version(folder) == 2
    text = (folder / "models.config").read_text()
    for line in ("versions: 2", "versions: 3", 'key: "stable" value: 2', 'key: "canary" value: 2'):
        assert line in text
    assert text.count("{") == text.count("}") == 6


def test_a_rollback_goes_back_step_by_step_and_nothing_refused_comes_again(folder):
    for version in (1, 2, 3):
        versions.promote(folder, version)
    assert versions.roll_back(folder, "bad slates").stable == 2
    assert versions.roll_back(folder, "bad slates").stable == 1
    with pytest.raises(ValueError, match="expected a version before 1 to go back to"):
        versions.roll_back(folder, "bad slates")
    with pytest.raises(ValueError, match=r"version 3 was taken back \(bad slates\)"):
        versions.promote(folder, 3)
    assert versions.promote(folder, 10).before == (1,)


def test_a_version_that_is_no_longer_stable_is_only_refused(folder):
    versions.promote(folder, 2)
    versions.promote(folder, 3)
    labels = versions.roll_back(folder, "late news", 2)
    assert (labels.stable, labels.refused) == (3, {"2": "late news"})
    with pytest.raises(ValueError, match="before 3 to go back to"):
        versions.roll_back(folder, "bad too")


def test_without_labels_a_rollback_leaves_the_newest(folder):
    assert versions.roll_back(folder, "bad").stable == 3


def test_what_serves_instead_of_a_version_that_is_gone_is_never_one_that_was_refused(folder):
    versions.promote(folder, 2)
    versions.promote(folder, 3)
    versions.promote(folder, 1)
    versions.roll_back(folder, "bad", 10)
    (folder / "1").rmdir()
    assert versions.servable_versions(folder) == [3, 2]
    (folder / "3").rmdir()
    (folder / "2").rmdir()
    assert versions.newest_version(folder) == 10
    assert versions.served_version(folder) == 0


def test_nothing_follows_a_version_that_was_taken_back_or_overtaken(folder):
    versions.promote(folder, 1)
    versions.promote(folder, 2, source=1)
    with pytest.raises(versions.MovedError, match="version 2 serves by now, and not 1"):
        versions.promote(folder, 3, source=1)
    versions.roll_back(folder, "bad slates")
    with pytest.raises(versions.MovedError, match=r"version 2, which it was made from, was taken back .* \(bad slates"):
        versions.promote(folder, 3, source=2)
    assert versions.promote(folder, 3, source=1).before == (1,)


def test_a_version_that_is_tried_out_does_not_serve_where_nothing_was_labelled(folder):
    labels = versions.try_out(folder, 10)
    assert (labels.stable, labels.canary) == (3, 10)


def test_unknown_versions_and_foreign_labels_are_refused(folder):
    with pytest.raises(ValueError, match=r"expected one of the versions \[1, 2, 3, 10\], got 7"):
        versions.promote(folder, 7)
    for text in ("[]", "{", '{"stable": 1}', '{"before": 3}', '{"before": [], "more": 1}'):
        (folder / "labels.json").write_text(text)
        with pytest.raises(ValueError, match="delete the file"):
            versions.read_labels(folder)


def test_old_versions_go_but_never_one_that_is_needed(folder):
    versions.promote(folder, 1)
    versions.promote(folder, 2)
    assert versions.prune(folder, 1, but=[3]) == []
    assert versions.prune(folder, 1) == [3]
    assert versions.prune(folder, 5) == []
    assert sorted(p.name for p in folder.iterdir() if p.name.isdigit()) == ["1", "10", "2"]


def test_one_writer_at_a_time(folder, monkeypatch):
    monkeypatch.setattr(versions, "_PATIENCE", 0.1)
    refused = []

    def other():
        with pytest.raises(ValueError, match="another process that has been writing one"), versions.one_writer(folder):
            pass
        refused.append(True)

    with versions.one_writer(folder):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert refused
    with versions.one_writer(folder):
        pass
