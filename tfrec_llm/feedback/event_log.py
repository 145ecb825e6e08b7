"""The event log: decisions and events, kept the moment they happen. The server writes it, `join` reads it.

What `add_*` has returned from outlives the process: a killed one loses nothing that was acknowledged. Events are on
disk then, and so are the decisions before them; decisions after the last event SQLite may lose with the machine's
power. Rows that are sent again change nothing. SQLite (write-ahead log) by default, PostgreSQL by URL.
"""

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite

from tfrec_llm.feedback.database import LogUnavailableError, make_engine, parsed_url, said, shown
from tfrec_llm.feedback.log_rows import (
    DecisionRow,
    EventRow,
    decisions_of,
    events_of,
    stored_decision,
    stored_event,
)
from tfrec_llm.feedback.records import Decisions, Events
from tfrec_llm.feedback.sqlite_file import PASSING, READING, empty, identity
from tfrec_llm.feedback.tables import decisions, events, metadata

BUSY_SECONDS = 5.0  # that a writer waits for another one
MOST_SECONDS = 120.0  # of one statement: whoever learns may read many decisions at once
_WRITERS = 7_402_511  # names the advisory lock of PostgreSQL: who holds it gets the next sequence numbers
_INSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_THERE = sql.select(decisions.c.decision_id).where(decisions.c.decision_id.in_(sql.bindparam("asked", expanding=True)))
_MANY = 500  # ids in one condition: SQLite takes 32,766 values at most, and older ones 999
_ROWS = 50  # in one statement
_PAGE = 1000  # ids that are read at once


class Kept(NamedTuple):
    """What became of rows that were handed in."""

    new: int  # kept now
    known: int  # were there already


class Forgotten(NamedTuple):
    """What was deleted."""

    decisions: int
    events: int
    is_pending: bool = False  # SQLite: who reads the log keeps the bytes in its file until they are done


class EventLog:
    """A database of decisions and events; usable from several threads and processes.

    Args:
      url: of SQLAlchemy: `sqlite:///path`, `postgresql+psycopg://user:password@host/database`.
      wait: seconds that a writer waits for another one; of PostgreSQL also those of connecting, 2 at least.
      most: seconds that PostgreSQL may take over one statement, or be silent, before it counts as gone.
      new: whether a SQLite file that is not there is made.

    Raises:
      ValueError: no URL, or one of another kind of database; no file, where none is to be made.
      LogUnavailableError: it cannot be opened.
    """

    def __init__(self, url: str, wait: float = BUSY_SECONDS, most: float = MOST_SECONDS, new: bool = True):
        parsed = parsed_url(url)
        self._wait, self._kind, self._name = wait, parsed.get_backend_name(), shown(parsed)
        self._engine = make_engine(parsed, wait, most)
        self._path = Path(parsed.database) if self._kind == "sqlite" and parsed.database else None
        if not new and self._path is not None and not self._path.exists():
            raise ValueError(
                f"event log {self._name}: expected the server's database file, found none; correct the URL."
            )
        with said(self._name):
            self._make_tables()
        self._file = None if self._path is None else identity(self._path)

    def _make_tables(self) -> None:
        """Makes the tables that are missing; who comes to an empty database at once with another finds its tables."""
        try:
            metadata.create_all(self._engine)
        except (sql.exc.ProgrammingError, sql.exc.IntegrityError):
            metadata.create_all(self._engine)

    def add_decisions(self, rows: Sequence[DecisionRow]) -> Kept:
        """Keeps decisions; those with an id that is known are left as they were.

        Raises:
          ValueError: a row that could not be learnt from.
          LogUnavailableError: nothing was kept.
        """
        return self._add(decisions, "decision_id", [stored_decision(row) for row in rows])

    def add_events(self, rows: Sequence[EventRow]) -> Kept:
        """Keeps events; those with an id that is known count once.

        Raises:
          ValueError: a row that could not be counted.
          LogUnavailableError: nothing was kept.
        """
        return self._add(events, "event_id", [stored_event(row) for row in rows])

    def add_events_together(self, groups: Sequence[Sequence[EventRow]]) -> list[Kept | None]:
        """Keeps events of decisions that are there, in one transaction, each group whole or not at all.

        Args:
          groups: events that belong together.

        Returns:
          What became of each group; None where one of its decisions is not there, or not any more.

        Raises:
          ValueError: a row that could not be counted; nothing was kept.
          LogUnavailableError: nothing was kept.
        """
        stored = [[stored_event(row) for row in rows] for rows in groups]
        asked = {row.decision_id for rows in groups for row in rows}
        with self._writing() as connection:
            there = {name for part in _parts(list(asked)) for name in connection.scalars(_THERE, {"asked": part})}
            whole = [all(row["decision_id"] in there for row in rows) for rows in stored]
            rows = [row for group, kept in zip(stored, whole, strict=True) if kept for row in group]
            new = self._insert(connection, events, "event_id", rows)
        counts = []
        for group, kept in zip(stored, whole, strict=True):
            own = {row["event_id"] for row in group} & new
            new -= own  # who sent it first kept it
            counts.append(Kept(len(own), len(group) - len(own)) if kept else None)
        return counts

    def known_decisions(self, decision_ids: Sequence[str]) -> dict[str, list[str]]:
        """Decision id -> the slate that it showed; strangers are left out."""
        found: dict[str, list[str]] = {}
        with self._reading() as connection:
            for part in _parts(list(dict.fromkeys(decision_ids))):
                wanted = sql.select(decisions.c.decision_id, decisions.c.item_ids)
                found |= {
                    row.decision_id: row.item_ids
                    for row in connection.execute(wanted.where(decisions.c.decision_id.in_(part)))
                }
        return found

    def last_event(self) -> int:
        """The sequence number of the newest event, 0 where there is none."""
        with self._reading() as connection:
            return connection.scalar(sql.select(sql.func.max(events.c.sequence))) or 0

    def nth_event(self, after: int, count: int) -> int | None:
        """The sequence number that ends a batch of `count` events after one; None while there are fewer."""
        numbers = sql.select(events.c.sequence).where(events.c.sequence > after).order_by(events.c.sequence)
        with self._reading() as connection:
            return connection.scalar(numbers.offset(count - 1).limit(1))

    def read_events(self, after: int = 0, upto: int | None = None, decision_ids: Sequence[str] | None = None) -> Events:
        """Events numbered above `after` and up to `upto`, in their order; of some decisions alone, where named."""
        wanted = sql.select(events).where(events.c.sequence > after).order_by(events.c.sequence)
        if upto is not None:
            wanted = wanted.where(events.c.sequence <= upto)
        return events_of(self._rows(wanted, events.c.decision_id, decision_ids))

    def read_decisions(
        self, decision_ids: Sequence[str] | None = None, fusion_version: str = ""
    ) -> tuple[Decisions, int]:
        """Decisions in the order in which they were made.

        Args:
          decision_ids: these alone; None = all.
          fusion_version: contexts of another one are left out; "" = all are of one.

        Returns:
          The decisions, their features those of the first candidates that were logged; and how many were left out.
        """
        rows = self._rows(sql.select(decisions).order_by(decisions.c.sequence), decisions.c.decision_id, decision_ids)
        kept = [row for row in rows if not fusion_version or row["fusion_version"] == fusion_version]
        return decisions_of(kept), len(rows) - len(kept)

    def latest_decisions(self, time: int, model_version: str = "") -> Iterator[str]:
        """Ids of the decisions made up to a time in seconds, the latest first; of one model version alone, where named.

        They are read a page at a time: whoever stops early reads no more. Two calls with one time say the same once
        that time is some seconds past.
        """
        wanted = sql.select(decisions.c.sequence, decisions.c.decision_id).where(decisions.c.time <= time)
        if model_version:
            wanted = wanted.where(decisions.c.model_version == model_version)
        wanted, page = wanted.order_by(decisions.c.sequence.desc()).limit(_PAGE), [None] * _PAGE
        following = wanted
        while len(page) == _PAGE:
            with self._reading() as connection:
                page = connection.execute(following).all()
            yield from (row.decision_id for row in page)
            following = wanted.where(decisions.c.sequence < page[-1].sequence) if page else wanted

    def forget_user(self, key: str) -> Forgotten:
        """Deletes all rows of a user, given by `user_key`. What a model has learnt from them stays in its weights."""
        return self._forget(decisions.c.user_key == key)

    def forget_decisions(self, decision_ids: Sequence[str]) -> Forgotten:
        """Deletes decisions, and their events."""
        return self._forget(decisions.c.decision_id.in_(list(decision_ids)))

    def forget_before(self, time: int, most: int | None = None) -> Forgotten:
        """Deletes decisions made before a time in seconds, and their events.

        Args:
          time: seconds.
          most: so many decisions at once, the oldest first, so that writers wait for a moment only; None = all.
        """
        return self._forget(decisions.c.time < time, most)

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    def _add(self, table: sql.Table, key: str, rows: list[dict[str, Any]]) -> Kept:
        if not rows:
            return Kept(0, 0)
        with self._writing(**(PASSING if table is decisions else {})) as connection:
            new = self._insert(connection, table, key, rows)
        return Kept(len(new), len(rows) - len(new))

    def _insert(self, connection: sql.Connection, table: sql.Table, key: str, rows: list[dict[str, Any]]) -> set[str]:
        """The keys that are new."""
        insert = _INSERTS[self._kind](table).on_conflict_do_nothing(index_elements=[key]).returning(table.c[key])
        if len(rows) == 1:  # compiled once, where several rows in one statement are compiled each time
            return set(connection.scalars(insert, rows[0]))
        return {name for part in _parts(rows, _ROWS) for name in connection.scalars(insert.values(part))}

    def _forget(self, condition: sql.ColumnElement[bool], most: int | None = None) -> Forgotten:
        theirs = sql.select(decisions.c.decision_id).where(condition)
        if most is not None:  # by time, which has an index: nothing is read of what may stay
            theirs = theirs.order_by(decisions.c.time, decisions.c.sequence).limit(most)
        with self._writing() as connection:
            gone = connection.execute(sql.delete(events).where(events.c.decision_id.in_(theirs))).rowcount
            gone_too = decisions.c.decision_id.in_(theirs)
            made = connection.execute(sql.delete(decisions).where(gone_too)).rowcount
        if self._kind != "sqlite":
            return Forgotten(made, gone)
        with said(self._name), closing(self._engine.raw_connection()) as connection:
            return Forgotten(made, gone, not empty(connection.driver_connection))

    def _rows(self, wanted: sql.Select, key: sql.Column, among: Sequence[str] | None) -> list[Mapping[str, Any]]:
        """Rows by sequence; where ids are given, of these alone."""
        with self._reading() as connection:
            if among is None:
                return list(connection.execute(wanted).mappings())
            parts = _parts(list(dict.fromkeys(among)))
            rows = [row for part in parts for row in connection.execute(wanted.where(key.in_(part))).mappings()]
        return sorted(rows, key=lambda row: row["sequence"])

    @contextmanager
    def _writing(self, **options: bool) -> Iterator[sql.Connection]:
        """A transaction; one writer at a time, so that sequence numbers are seen in their order."""
        self._check_file()
        with said(self._name), self._engine.connect().execution_options(**options) as connection, connection.begin():
            if self._kind == "postgresql":
                connection.execute(sql.text(f"SET LOCAL lock_timeout = {max(1, int(1000 * self._wait))}"))
                connection.execute(sql.text("SELECT pg_advisory_xact_lock(:name)"), {"name": _WRITERS})
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[sql.Connection]:
        self._check_file()
        with said(self._name), self._engine.connect().execution_options(**READING) as connection:
            yield connection

    def _check_file(self) -> None:
        """Refuses a file that is not the one that was opened: SQLite would go on writing into what nobody sees."""
        if self._path is not None and identity(self._path) != self._file:
            raise LogUnavailableError(
                f"event log {self._name}: expected the database file that was opened, found none or another; "
                "nothing was kept. Put it back, or start the program again for a new one."
            )


def user_key(secret: bytes, user_id: str) -> str:
    """What stands in the log for a user: HMAC-SHA256 of the id with the server's secret, in hexadecimal.

    Args:
      secret: at least 16 bytes that stay with the server; with another one, users become strangers.
      user_id: as the request has it.

    Raises:
      ValueError: a secret that could be guessed.
    """
    if len(secret) < 16:
        raise ValueError(f"expected a secret of at least 16 bytes, got {len(secret)}; draw one with secrets.token_hex.")
    return hmac.new(secret, user_id.encode(), hashlib.sha256).hexdigest()


def _parts(values: list[Any], size: int = _MANY) -> Iterator[list[Any]]:
    return (values[i : i + size] for i in range(0, len(values), size))
