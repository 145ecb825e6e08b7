"""models.config as a TensorFlow Serving takes it: what is new is listed first, and named when it is loaded."""

import json
import types

import numpy as np
import pytest

from tests.serving.server.stand_in import Labelled
from tfrec_llm.serving import labels as told
from tfrec_llm.serving import versions


class Clock:
    """Stands for the module `time`."""

    def __init__(self):
        self.now = 1_000_000.0

    def time(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(versions, "time", types.SimpleNamespace(time=made.time))
    monkeypatch.setattr(told, "time", types.SimpleNamespace(time=made.time))
    return made


class Folder:
    """An export folder, and the TensorFlow Serving that reads its models.config."""

    def __init__(self, path, clock):
        self.path, self.clock, self.server = path, clock, Labelled()

    def export(self, version):
        (self.path / str(version)).mkdir()
        versions.promote(self.path, version)

    def poll(self, loads=True):
        self.server.reload((self.path / versions.SERVING).read_text())
        if loads:
            self.server.load()

    def later(self):
        self.clock.now += told.LOAD_SECONDS
        return versions.settle(self.path)


@pytest.fixture
def folder(tmp_path, clock):
    made = Folder(tmp_path, clock)
    made.export(1)
    made.poll()
    return made


def test_the_rule_itself_a_label_moves_to_nothing_that_is_not_loaded(folder):
    (folder.path / "2").mkdir()
    text = (
        (folder.path / versions.SERVING)
        .read_text()
        .replace("versions: 1", "versions: 2")
        .replace("value: 1", "value: 2")
    )
    with pytest.raises(RuntimeError, match=r"label \w+, version 2 is not available"):
        folder.server.reload(text)
    assert folder.server.wanted == {1}  # and it is never loaded


def test_a_new_version_is_listed_first_and_named_when_it_is_loaded(folder):
    folder.export(2)
    assert versions.served_version(folder.path) == 2  # our own server follows at once
    assert versions.settle(folder.path) == told.LOAD_SECONDS
    folder.poll(loads=False)
    assert (folder.server.labels["stable"], folder.server.wanted) == (1, {1, 2})
    folder.server.load()
    assert folder.later() == 0
    folder.poll()
    assert (folder.server.labels, folder.server.wanted) == ({"stable": 2, "canary": 2}, {1, 2})
    written = (folder.path / versions.SERVING).stat().st_mtime_ns
    assert folder.later() == 0
    assert (folder.path / versions.SERVING).stat().st_mtime_ns == written


def test_a_rollback_needs_nothing_to_be_loaded(folder):
    folder.export(2)
    folder.poll()
    folder.later()
    folder.poll()
    versions.roll_back(folder.path, "bad slates")
    folder.poll(loads=False)
    assert (folder.server.labels, folder.server.available) == ({"stable": 1, "canary": 1}, {1})


def test_a_rollback_before_the_labels_moved_leaves_them_where_they_are(folder):
    folder.export(2)
    folder.poll(loads=False)
    versions.roll_back(folder.path, "bad slates")
    folder.poll(loads=False)
    assert (folder.server.labels["stable"], folder.server.wanted) == (1, {1})


def test_a_canary_is_named_when_it_is_loaded(folder):
    (folder.path / "2").mkdir()
    versions.try_out(folder.path, 2)
    folder.poll()
    assert folder.server.labels == {"stable": 1, "canary": 1}
    folder.later()
    folder.poll()
    assert folder.server.labels == {"stable": 1, "canary": 2}


def test_labels_of_an_older_program_are_taken_as_told(folder):
    path = folder.path / versions.LABELS
    old = {name: value for name, value in json.loads(path.read_text()).items() if name not in ("told", "listed")}
    path.write_text(json.dumps(old))
    folder.export(2)
    folder.poll()
    assert (folder.server.labels["stable"], folder.server.wanted) == (1, {1, 2})


def test_what_is_still_listed_is_not_deleted(folder):
    for version in (2, 3, 4):
        folder.export(version)
    assert versions.prune(folder.path, 1) == []  # version 1 is named still
    folder.later()
    versions.note_judged(folder.path, 3)
    assert versions.prune(folder.path, 1) == [1, 2]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_every_file_is_taken_and_the_labels_arrive(folder, seed):
    draw, newest = np.random.default_rng(seed), 1
    for _ in range(30):
        what = draw.choice(["export", "try", "promote", "back", "time"])
        if what in ("export", "try"):
            newest += 1
            (folder.path / str(newest)).mkdir()
            (versions.promote if what == "export" else versions.try_out)(folder.path, newest)
        labels = versions.read_labels(folder.path)
        if what == "promote" and str(labels.canary) not in labels.refused:
            versions.promote(folder.path, labels.canary)
        if what == "back" and labels.before:
            versions.roll_back(folder.path, "bad")
        if what == "time":
            folder.clock.now += draw.uniform(1, 50)
            versions.settle(folder.path)
        folder.poll()
    assert [folder.later() for _ in range(2)][1] == 0
    folder.poll()
    labels = versions.read_labels(folder.path)
    assert folder.server.labels == {"stable": labels.stable, "canary": labels.canary}


@pytest.mark.parametrize(("canary", "there"), [(6, {4, 6}), (5, {4})])
def test_a_stable_version_whose_folder_is_gone_is_not_waited_for(canary, there):
    lost = told.Labels(stable=5, canary=canary, before=(4,), listed={"4": 1.0, "5": 1.0})
    now, text = told.announced(lost, there)
    assert now.told == 4
    assert "value: 5" not in text
    assert 0 <= told.seconds_left(lost, there) <= told.LOAD_SECONDS
