"""feedback.sqlite_file: another file in the log's place is noticed, and looking at it drops no lock."""

import os
import sqlite3
import subprocess
import sys

import pytest
import sqlalchemy

from tests.feedback.test_event_log import KEY, decision, event
from tfrec_llm.feedback import EventLog, Forgotten, Kept, LogUnavailableError, sqlite_url


@pytest.mark.parametrize("harm", ["deleted", "replaced", "emptied"])
def test_a_database_that_is_not_the_one_that_was_opened_refuses(tmp_path, harm):
    path, away = tmp_path / "log.db", tmp_path / "away.db"
    log = EventLog(sqlite_url(path))
    log.add_decisions([decision()])
    os.link(path, away)
    content = path.read_bytes()
    if harm in ("deleted", "replaced"):
        path.unlink()
    if harm != "deleted":
        path.write_bytes(b"" if harm == "emptied" else content)
    for act in (lambda: log.add_events([event()]), log.last_event):
        with pytest.raises(LogUnavailableError, match="Put it back"):
            act()
    away.write_bytes(content)
    os.replace(away, path)
    assert log.add_events([event()]) == Kept(1, 0)


def test_commits_of_events_wait_for_the_disk_and_those_of_decisions_do_not(tmp_path):
    log, seen = EventLog(sqlite_url(tmp_path / "log.db")), []

    @sqlalchemy.event.listens_for(log._engine, "commit")
    def note(connection):
        seen.append(connection.exec_driver_sql("PRAGMA synchronous").scalar())

    log.add_decisions([decision()])
    log.add_events([event()])
    log.add_decisions([decision("another")])
    log.forget_before(1)
    assert seen == [1, 2, 1, 2]  # NORMAL, FULL


def test_looking_at_the_file_drops_no_lock(tmp_path):
    """A stranger that closes what it takes for the last connection would delete the write-ahead log."""
    log = EventLog(sqlite_url(tmp_path / "log.db"))
    log.add_events([event("first")])
    count = (
        "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM events').fetchone()[0])"
    )
    for number in range(2, 5):
        told = subprocess.run(
            [sys.executable, "-c", count, tmp_path / "log.db"], capture_output=True, text=True, check=True
        )
        assert int(told.stdout) == number - 1
        log.add_events([event(f"more {number}")])


def test_who_reads_while_a_user_is_forgotten_is_said(tmp_path):
    log = EventLog(sqlite_url(tmp_path / "log.db"), wait=0.01)
    log.add_decisions([decision(utterance="my secret wish")])
    reader = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM decisions").fetchone()
    assert log.forget_user(KEY) == Forgotten(1, 0, is_pending=True)
    reader.execute("ROLLBACK")
    assert log.forget_user(KEY) == Forgotten(0, 0)
    assert not any(b"my secret wish" in path.read_bytes() for path in tmp_path.iterdir())
