"""Which databases the event log takes, and what it says of those that it cannot use."""

import threading
import time

import pytest
import sqlalchemy

from tests.feedback.test_event_log import decision, event
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
    with pytest.raises(ValueError, match=r"a database URL such as sqlite:///log\.db"):
        EventLog("log.db")
    with pytest.raises(ValueError, match=r"a driver that is installed, got postgresql\+none"):
        EventLog("postgresql+none://root@localhost/x")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:/tfrec:hunter2@db/x",
        "postgresql+psycopg://tfrec:hunter2@127.0.0.1:port/x",
        "postgresql+psycopg://tfrec@127.0.0.1:9/x?password=hunter2",
        "postgresql+psycopg://tfrec:hunter2@127.0.0.1:9/x",
        "postgresql+none://tfrec:hunter2@127.0.0.1:9/x?password=hunter2",
        "mysql://tfrec:hunter2@db/x?password=hunter2",
    ],
)
def test_no_message_holds_a_password_and_each_names_the_setting_or_the_database(url):
    with pytest.raises((ValueError, LogUnavailableError)) as caught:
        EventLog(url)
    assert "hunter2" not in str(caught.value)
    assert "serving.log" in str(caught.value) or "event log postgresql+psycopg://tfrec" in str(caught.value)


def test_a_postgresql_that_does_not_answer_is_said_to_readers_and_writers(postgresql):
    log = EventLog(f"{postgresql}{'&' if '?' in postgresql else '?'}options=-c%20work_mem%3D1MB", most=0.3)
    with log._reading() as connection:
        assert connection.exec_driver_sql("SHOW work_mem").scalar() == "1MB"
    stranger = sqlalchemy.create_engine(postgresql)
    with stranger.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE decisions, events IN ACCESS EXCLUSIVE MODE")
        for act in (lambda: log.known_decisions(["d1"]), lambda: log.add_events([event()])):
            began = time.monotonic()
            with pytest.raises(LogUnavailableError, match="statement timeout"):
                act()
            assert time.monotonic() - began < 3
    stranger.dispose()
    assert log.known_decisions(["none"]) == {}
    log.close()


def test_user_keys_are_the_secret_s():
    ours = [user_key(secret, user) for secret in (b"0123456789abcdef", b"fedcba9876543210") for user in ("1", "2")]
    assert len(set(ours)) == 4
    assert {len(key) for key in ours} == {64}
    assert user_key(b"0123456789abcdef", "1") == ours[0]
    with pytest.raises(ValueError, match="at least 16 bytes, got 3"):
        user_key(b"abc", "1")


def test_a_table_that_is_gone_is_said_and_what_is_sent_again_later_is_kept(log, url):
    log.add_decisions([decision()])
    stranger = sqlalchemy.create_engine(url)
    with stranger.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE decisions RENAME TO away")
    for act in (lambda: log.add_decisions([decision("d2")]), lambda: log.known_decisions(["d1"]), log.read_decisions):
        with pytest.raises(LogUnavailableError, match="give its tables and rights back"):
            act()
    with stranger.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO decisions")
    stranger.dispose()
    assert log.add_decisions([decision("d2")]).new == 1


def test_a_row_that_the_database_refuses_is_said(log, monkeypatch):
    monkeypatch.setattr("tfrec_llm.feedback.event_log.stored_event", lambda row: {**vars(row), "event": None})
    with pytest.raises(LogUnavailableError, match="nothing was kept"):
        log.add_events([event()])
    assert log.last_event() == 0


def test_two_who_come_to_an_empty_database_at_once_share_its_tables(url):
    together, opened, failed = threading.Barrier(4), [], []

    def come():
        together.wait()
        try:
            opened.append(EventLog(url))
        except LogUnavailableError as error:
            failed.append(str(error))

    threads = [threading.Thread(target=come) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [log.add_events([event(f"e{place}")]).new for place, log in enumerate(opened)] == [1] * 4
    for log in opened:
        log.close()
