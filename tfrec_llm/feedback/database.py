"""The event log's database by its URL, and what it says in one sentence; neither shows a password.

Of a URL, messages show kind, user, host and name: what follows the question mark may hold a password too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sql

from tfrec_llm.feedback.sqlite_file import begin, prepare

KINDS = ("sqlite", "postgresql")


class LogUnavailableError(RuntimeError):
    """The database is locked, full, gone or not as it was: nothing was kept, and the same call may succeed later."""


def parsed_url(url: str) -> sql.URL:
    """A database's URL.

    Raises:
      ValueError: none, or one of another kind of database.
    """
    try:
        parsed = sql.make_url(url)
    except (sql.exc.ArgumentError, ValueError) as error:
        raise ValueError(
            "serving.log (or TFREC_LLM_LOG): expected a database URL such as sqlite:///log.db or "
            "postgresql+psycopg://user@host:5432/database, got one that cannot be read as such; correct it."
        ) from error
    if parsed.get_backend_name() not in KINDS:
        raise ValueError(
            f"serving.log: expected a URL of {' or '.join(KINDS)}, got one of {parsed.get_backend_name()}; say "
            "sqlite:///path or postgresql+psycopg://user@host/database."
        )
    return parsed


def shown(url: sql.URL) -> str:
    """A URL for messages."""
    return url.set(query={}).render_as_string(hide_password=True)


def sqlite_url(path: str | Path) -> str:
    """The URL of a SQLite file."""
    return f"sqlite:///{Path(path).absolute()}"


def make_engine(url: sql.URL, wait: float, most: float) -> sql.Engine:
    """Connections to a database.

    Args:
      url: as of `parsed_url`.
      wait: seconds that a writer of SQLite waits for another one; of PostgreSQL those of connecting, 2 at least, and
        those that it waits for a lock.
      most: seconds that PostgreSQL may take over one statement, or be silent, before it counts as gone.

    Raises:
      ValueError: its driver is not installed.
    """
    if url.get_backend_name() == "sqlite":
        engine = sql.create_engine(url, connect_args={"timeout": wait})
        sql.event.listen(engine, "connect", prepare)
        sql.event.listen(engine, "begin", begin)
        return engine
    limit, own = max(1, int(1000 * most)), url.query.get("options", "")
    limits = {
        "connect_timeout": max(2, int(wait)),
        "options": f"{own} -c statement_timeout={limit} -c lock_timeout={max(1, int(1000 * wait))}".strip(),
        "tcp_user_timeout": limit,
        "keepalives_idle": max(1, int(most)),
        "keepalives_interval": 1,
    }
    try:
        return sql.create_engine(url.difference_update_query(["options"]), pool_pre_ping=True, connect_args=limits)
    except (sql.exc.ArgumentError, ImportError) as error:
        raise ValueError(
            f"serving.log: expected a driver that is installed, got {url.drivername}; say "
            "postgresql+psycopg://user@host/database."
        ) from error


@contextmanager
def said(where: str) -> Iterator[None]:
    """Turns what a database says into one sentence.

    Args:
      where: the database, as `shown` says.

    Raises:
      LogUnavailableError: whatever it says.
    """
    try:
        yield
    except sql.exc.SQLAlchemyError as error:
        reason = (str(getattr(error, "orig", None) or error).strip() or type(error).__name__).splitlines()[0]
        raise LogUnavailableError(
            f"event log {where}: expected a database that can be read and written, got: {reason}; nothing was kept. "
            "Free the disk, end whoever holds the lock, start the database, or give its tables and rights back, then "
            "send the same again."
        ) from error
