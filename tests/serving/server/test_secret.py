"""The server's secret: from the environment, else drawn once, for its owner's eyes."""

import pytest

from tfrec_llm.serving.server.secret import read_secret


def test_it_is_drawn_once_and_kept_for_its_owner(tmp_path):
    first = read_secret(tmp_path, {})
    assert read_secret(tmp_path, {}) == first
    assert len(first) == 64
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_the_environment_s_comes_first_and_leaves_no_file(tmp_path):
    assert read_secret(tmp_path, {"TFREC_LLM_SECRET": "sixteen or more!"}) == b"sixteen or more!"
    assert list(tmp_path.iterdir()) == []


def test_one_that_could_be_guessed_is_refused(tmp_path):
    with pytest.raises(ValueError, match="TFREC_LLM_SECRET: expected a secret of at least 16 bytes, got 5"):
        read_secret(tmp_path, {"TFREC_LLM_SECRET": "short"})
    (tmp_path / "secret").write_text("")
    with pytest.raises(ValueError, match="secret: expected a secret of at least 16 bytes, got 0"):
        read_secret(tmp_path, {})
