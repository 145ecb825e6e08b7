"""The event log's SQLite file: how its connections behave, and whether it is still the one that was opened."""

import sqlite3
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sql

TRIES, PAUSE = 3, 0.1  # of emptying the write-ahead log; seconds
READING = {"tfrec_llm_reads": True}  # execution options of a connection that does not write
PASSING = {"tfrec_llm_passes": True}  # of one whose commit goes to the system and does not wait for the disk


def prepare(connection: Any, _: Any) -> None:
    """One writer beside any number of readers; deleted rows are overwritten."""
    connection.isolation_level = None  # SQLAlchemy's BEGIN alone opens a transaction
    for pragma in ("journal_mode=WAL", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def begin(connection: sql.Connection) -> None:
    """A writer takes its place at once, so that it is never refused half-way; a reader takes none.

    What a `PASSING` commit wrote outlives the process, and is on the disk with the next commit that waits for it.
    """
    options = connection.get_execution_options().items()
    if options >= READING.items():
        connection.exec_driver_sql("BEGIN")
        return
    connection.exec_driver_sql(f"PRAGMA synchronous={'NORMAL' if options >= PASSING.items() else 'FULL'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def identity(path: Path) -> tuple[int, int] | None:
    """Which file it is: device and inode; None where there is none, or an empty one.

    The file must not be opened for this: closing it would drop all locks that SQLite has on it in this process.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found.st_size else None


def empty(connection: sqlite3.Connection) -> bool:
    """Moves the write-ahead log, which still holds what was deleted, into the file; False while somebody reads it."""
    for place in range(TRIES):
        try:
            ((busy, *_),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.OperationalError:
            busy = 1
        if not busy:
            return True
        if place < TRIES - 1:
            time.sleep(PAUSE)
    return False
