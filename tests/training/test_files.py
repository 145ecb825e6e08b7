"""Files are whole or not there; equal content gives equal bytes."""

import errno
import os
import resource

import numpy as np
import pytest

from tfrec_llm.training import files


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


def test_text_bytes_and_json_come_back(tmp_path):
    files.write_text(tmp_path / "deep" / "er" / "a.txt", "行为\n")
    files.write_bytes(tmp_path / "b", b"\x00\xff")
    files.write_json(tmp_path / "c.json", {"b": 1, "a": "é"})
    assert (tmp_path / "deep/er/a.txt").read_text(encoding="utf-8") == "行为\n"
    assert (tmp_path / "b").read_bytes() == b"\x00\xff"
    assert (tmp_path / "c.json").read_text(encoding="utf-8") == '{\n  "b": 1,\n  "a": "é"\n}\n'
    assert list(files.read_json(tmp_path / "c.json").items()) == [("b", 1), ("a", "é")]


def test_nothing_is_left_beside_the_file(tmp_path):
    files.write_text(tmp_path / "a", "x")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_arrays_come_back_whatever_they_are_called(tmp_path):
    arrays = {
        "file": np.arange(3),
        "a/b": np.eye(2, dtype=np.float32),
        "s": np.array(["x", "日"]),
        "zero": np.zeros([0, 2]),
    }
    files.write_npz(tmp_path / "a.npz", arrays)
    back = files.read_npz(tmp_path / "a.npz")
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_equal_arrays_give_equal_bytes_in_any_order(tmp_path):
    files.write_npz(tmp_path / "1.npz", {"a": np.arange(3), "b": np.ones(2)})
    files.write_npz(tmp_path / "2.npz", {"b": np.ones(2), "a": np.arange(3)})
    assert files.sha256(tmp_path / "1.npz") == files.sha256(tmp_path / "2.npz")


def test_objects_are_refused_and_the_old_file_stays(tmp_path):
    files.write_npz(tmp_path / "a.npz", {"a": np.arange(3)})
    with pytest.raises(ValueError, match="Object arrays"):
        files.write_npz(tmp_path / "a.npz", {"a": np.array([{}], dtype=object)})
    np.testing.assert_array_equal(files.read_npz(tmp_path / "a.npz")["a"], np.arange(3))
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize("damage", ["truncated", "altered", "empty", "missing"])
def test_damaged_arrays_are_named(tmp_path, damage):
    path = tmp_path / "a.npz"
    files.write_npz(path, {"a": np.arange(1000)})
    data = bytearray(path.read_bytes())
    data[4000] ^= 1
    content = {"truncated": bytes(data[:2000]), "altered": bytes(data), "empty": b""}
    path.unlink() if damage == "missing" else path.write_bytes(content[damage])
    with pytest.raises(ValueError, match=r"a\.npz: expected"):
        files.read_npz(path)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", None])
def test_damaged_json_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.json: expected"):
        files.read_json(tmp_path / "a.json")


def test_sha256_known_answer(tmp_path):
    files.write_bytes(tmp_path / "a", b"abc")
    assert files.sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_limit_on_file_size_leaves_the_old_file(tmp_path):
    files.write_bytes(tmp_path / "a", b"old")

    def write_too_much():
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        try:
            files.write_bytes(tmp_path / "a", bytes(1_000_000))
        except OSError as error:
            os._exit(7 if error.errno == errno.EFBIG else 8)

    assert in_child(write_too_much) == 7
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_failing_flush_leaves_the_old_file(tmp_path, monkeypatch):
    files.write_bytes(tmp_path / "a", b"old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
