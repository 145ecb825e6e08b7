"""Which databases the event log takes, and what it says of those that it cannot use."""

import pytest

from tfrec_llm.feedback import EventLog, LogUnavailableError, sqlite_url, user_key


def test_a_database_that_is_gone_or_damaged_is_said(tmp_path):
    with pytest.raises(LogUnavailableError, match="unable to open"):
        EventLog(sqlite_url(tmp_path / "no" / "such" / "log.db"))
    (tmp_path / "log.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(LogUnavailableError, match="not a database"):
        EventLog(sqlite_url(tmp_path / "log.db"))
    with pytest.raises(LogUnavailableError, match="nothing was kept") as caught:
        EventLog("postgresql+psycopg://postgres:hunter2@127.0.0.1:9/none")
    assert "hunter2" not in str(caught.value)


def test_only_known_databases_are_taken():
    with pytest.raises(ValueError, match="sqlite or postgresql, got one of mysql"):
        EventLog("mysql://root@localhost/x")
    with pytest.raises(ValueError, match=r"a database URL such as sqlite:///log\.db, got 'log\.db'"):
        EventLog("log.db")


def test_user_keys_are_the_secret_s():
    ours = [user_key(secret, user) for secret in (b"0123456789abcdef", b"fedcba9876543210") for user in ("1", "2")]
    assert len(set(ours)) == 4
    assert {len(key) for key in ours} == {64}
    assert user_key(b"0123456789abcdef", "1") == ours[0]
    with pytest.raises(ValueError, match="at least 16 bytes, got 3"):
        user_key(b"abc", "1")
