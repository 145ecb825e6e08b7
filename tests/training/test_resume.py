"""A stage is whole and proven, or it is not there: killed, damaged, disturbed, out of space."""

import errno
import os
import resource
import shutil
import signal

import numpy as np
import pytest

from tfrec_llm.config import Config
from tfrec_llm.training import files, read_stage, resume, run_stage, stage_fingerprint


def writer(text, calls=None):
    def build(stage):
        assert not any(stage.folder.iterdir())
        if calls is not None:
            calls.append(text)
        files.write_text(stage.folder / "a.txt", text)
        files.write_npz(stage.folder / "deep" / "b.npz", {"x": np.arange(10)})

    return build


def in_child(work) -> int:
    """Runs `work` in a process of its own; its exit status, negative = the signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def test_built_once_then_skipped(tmp_path, caplog):
    calls = []
    caplog.set_level("INFO")
    first = run_stage(tmp_path, "toy", {"config": Config(), "x": 1}, writer("1", calls))
    second = run_stage(tmp_path, "toy", {"x": 1, "config": Config()}, writer("1", calls))
    assert first == second == stage_fingerprint(tmp_path, "toy")
    assert calls == ["1"]
    assert "nothing to do" in caplog.text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tensorboard", "toy"]
    assert sorted(read_stage(tmp_path, "toy")["files"]) == ["a.txt", "deep/b.npz"]


def test_other_inputs_or_force_build_again(tmp_path):
    calls = []
    run_stage(tmp_path, "toy", {"x": 1}, writer("1", calls))
    run_stage(tmp_path, "toy", {"x": 2}, writer("2", calls))
    run_stage(tmp_path, "toy", {"x": 2}, writer("3", calls), force=True)
    assert calls == ["1", "2", "3"]
    assert (tmp_path / "toy/a.txt").read_text() == "3"


def test_another_format_builds_again(tmp_path, monkeypatch):
    before = run_stage(tmp_path, "toy", {}, writer("1"))
    monkeypatch.setattr(resume, "FORMAT", resume.FORMAT + 1)
    assert run_stage(tmp_path, "toy", {}, writer("2")) != before
    assert (tmp_path / "toy/a.txt").read_text() == "2"


def test_a_failing_build_leaves_the_old_result(tmp_path):
    def fail(stage):
        files.write_text(stage.folder / "a.txt", "half")
        raise RuntimeError("no")

    before = run_stage(tmp_path, "toy", {"x": 1}, writer("1"))
    with pytest.raises(RuntimeError, match="no"):
        run_stage(tmp_path, "toy", {"x": 2}, fail)
    assert stage_fingerprint(tmp_path, "toy") == before
    assert (tmp_path / "toy/a.txt").read_text() == "1"


@pytest.mark.parametrize("damage", ["missing", "truncated", "altered"])
def test_damage_is_named_with_its_remedy_and_nothing_is_deleted(tmp_path, damage):
    run_stage(tmp_path, "toy", {}, writer("text"))
    path = tmp_path / "toy" / "deep" / "b.npz"
    data = path.read_bytes()
    altered = {"truncated": data[:-1], "altered": data[:-1] + bytes([data[-1] ^ 1])}
    path.unlink() if damage == "missing" else path.write_bytes(altered[damage])
    with pytest.raises(ValueError, match=r"b\.npz: expected .* make train STAGE=toy"):
        run_stage(tmp_path, "toy", {}, writer("never"))
    assert (tmp_path / "toy/a.txt").read_text() == "text"
    run_stage(tmp_path, "toy", {}, writer("new"), force=True)
    assert (tmp_path / "toy/a.txt").read_text() == "new"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"files": {}, "sha256": "0"}'])
def test_a_damaged_list_of_files_is_named(tmp_path, content):
    run_stage(tmp_path, "toy", {}, writer("text"))
    (tmp_path / "toy/stage.json").write_text(content)
    with pytest.raises(ValueError, match=r"stage\.json: expected .* make train STAGE=toy"):
        run_stage(tmp_path, "toy", {}, writer("never"))
    assert (tmp_path / "toy/a.txt").read_text() == "text"


def test_an_altered_list_cannot_vouch_for_altered_files(tmp_path):
    run_stage(tmp_path, "toy", {}, writer("text"))
    path = tmp_path / "toy/stage.json"
    (tmp_path / "toy/a.txt").write_text("evil")
    manifest = files.read_json(path)
    manifest["files"]["a.txt"] = [4, files.sha256(tmp_path / "toy/a.txt")]
    files.write_json(path, manifest)
    with pytest.raises(ValueError, match="own hash"):
        run_stage(tmp_path, "toy", {}, writer("never"))


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_that_no_stage_made_is_never_replaced(tmp_path, force):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("the only copy")
    with pytest.raises(ValueError, match="move"):
        run_stage(tmp_path, "data", {}, writer("never"), force=force)
    assert (tmp_path / "data" / "thesis.txt").read_text() == "the only copy"


def test_an_absent_stage_is_named_with_its_remedy(tmp_path):
    with pytest.raises(ValueError, match="make train STAGE=toy"):
        stage_fingerprint(tmp_path, "toy")


@pytest.mark.parametrize("name", ["", "../x", "A", "a b"])
def test_a_bad_name_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="stage name"):
        run_stage(tmp_path, name, {}, writer("never"))


def test_killed_in_the_build_checkpoints_stay_and_half_results_go(tmp_path):
    def build_and_die(stage):
        files.write_text(stage.work / "pass-1", "checkpoint")
        files.write_text(stage.logs / "events", "scalars")
        files.write_text(stage.folder / "half.txt", "half")
        die()

    assert in_child(lambda: run_stage(tmp_path, "toy", {"x": 1}, build_and_die)) == -signal.SIGKILL
    with pytest.raises(ValueError, match="expected the finished stage"):
        stage_fingerprint(tmp_path, "toy")
    seen = {}

    def go_on(stage):
        seen.update(work=[p.name for p in stage.work.iterdir()], logs=[p.name for p in stage.logs.iterdir()])
        writer("1")(stage)

    run_stage(tmp_path, "toy", {"x": 1}, go_on)
    assert seen == {"work": ["pass-1"], "logs": ["events"]}
    assert sorted(p.name for p in (tmp_path / "toy").iterdir()) == ["a.txt", "deep", "stage.json"]
    assert not (tmp_path / "toy.partial").exists()


def test_checkpoints_made_from_other_inputs_are_not_used(tmp_path):
    def build_and_die(stage):
        files.write_text(stage.work / "pass-1", "checkpoint")
        die()

    assert in_child(lambda: run_stage(tmp_path, "toy", {"x": 1}, build_and_die)) == -signal.SIGKILL
    seen = []
    run_stage(tmp_path, "toy", {"x": 2}, lambda stage: seen.extend(stage.work.iterdir()) or writer("1")(stage))
    assert seen == []


POINTS = {
    "while hashing": ("tfrec_llm.training.files.sha256", 1),
    "before the list of files": ("tfrec_llm.training.resume.fingerprint", 2),
    "before the old one moves": ("os.rename", 1),
    "between the two renames": ("os.rename", 2),
    "after the swap": ("tfrec_llm.training.resume._clear", 1),
}


@pytest.mark.parametrize("there_before", [True, False])
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_old_or_new_is_whole(tmp_path, monkeypatch, point, there_before):
    if there_before:
        run_stage(tmp_path, "toy", {"x": 1}, writer("old"))
    target, nth = POINTS[point]
    if point == "between the two renames" and not there_before:
        nth = 1
    count = [0]
    module_name, _, attribute = target.rpartition(".")
    module = {"os": os, "tfrec_llm.training.files": files, "tfrec_llm.training.resume": resume}[module_name]
    real = getattr(module, attribute)

    def die_at_nth(*args, **kwargs):
        count[0] += 1
        if count[0] == nth:
            die()
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(module, attribute, die_at_nth)
        assert in_child(lambda: run_stage(tmp_path, "toy", {"x": 2}, writer("new"))) == -signal.SIGKILL
    try:
        stage_fingerprint(tmp_path, "toy")
        resume.verify(tmp_path, "toy")
        found = (tmp_path / "toy/a.txt").read_text()
    except ValueError:
        found = None
    sealed = point in ("before the old one moves", "between the two renames", "after the swap")
    assert found == ("new" if sealed else "old" if there_before else None)
    calls = []
    run_stage(tmp_path, "toy", {"x": 2}, writer("new", calls))
    assert calls == ([] if sealed else ["new"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tensorboard", "toy"]


def test_half_removed_checkpoints_count_for_nothing(tmp_path, monkeypatch):
    def build(stage):
        files.write_text(stage.work / "pass-1", "checkpoint")
        writer("1")(stage)

    with monkeypatch.context() as patch:
        real = shutil.rmtree
        patch.setattr(shutil, "rmtree", lambda p, **k: die() if str(p).endswith("toy.partial") else real(p, **k))
        assert in_child(lambda: run_stage(tmp_path, "toy", {}, build)) == -signal.SIGKILL
    seen = []
    run_stage(tmp_path, "toy", {}, lambda s: seen.extend(s.work.iterdir()) or writer("2")(s), force=True)
    assert seen == []


def test_two_processes_do_not_build_the_same_stage(tmp_path):
    def build(stage):
        assert in_child(lambda: run_stage(tmp_path, "toy", {}, writer("other"))) == 1
        with pytest.raises(ValueError, match="another process"):
            run_stage(tmp_path, "toy", {}, writer("other"))
        writer("mine")(stage)

    run_stage(tmp_path, "toy", {}, build)
    assert (tmp_path / "toy/a.txt").read_text() == "mine"


def test_a_full_disk_is_one_clear_error_and_the_old_result_stays(tmp_path):
    run_stage(tmp_path, "toy", {"x": 1}, writer("old"))

    def too_much(stage):
        files.write_text(stage.work / "pass-1", "checkpoint")
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        with open(stage.folder / "big", "wb") as file:
            file.write(bytes(1_000_000))

    def build():
        try:
            run_stage(tmp_path, "toy", {"x": 2}, too_much)
        except OSError as error:
            good = error.errno == errno.ENOSPC and "free some space" in str(error) and "'toy'" in str(error)
            os._exit(7 if good else 8)

    assert in_child(build) == 7
    resume.verify(tmp_path, "toy")
    assert (tmp_path / "toy/a.txt").read_text() == "old"
    assert not list((tmp_path / "toy.partial" / "result").iterdir())
    seen = []
    run_stage(tmp_path, "toy", {"x": 2}, lambda s: seen.extend(p.name for p in s.work.iterdir()) or writer("new")(s))
    assert seen == ["pass-1"]
    assert (tmp_path / "toy/a.txt").read_text() == "new"


def test_a_full_disk_while_sealing(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    run_stage(tmp_path, "toy", {"x": 1}, writer("old"))
    with monkeypatch.context() as patch:
        patch.setattr(files, "sync_tree", full)
        with pytest.raises(OSError, match="free some space"):
            run_stage(tmp_path, "toy", {"x": 2}, writer("new"))
    assert (tmp_path / "toy/a.txt").read_text() == "old"


def test_a_full_disk_reported_in_words_by_a_library(tmp_path):
    def build(_):
        raise RuntimeError("Failed to write: No space left on device")

    with pytest.raises(OSError, match="free some space"):
        run_stage(tmp_path, "toy", {}, build)
