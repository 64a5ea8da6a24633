"""The process's connections to PostgreSQL, and the one place that translates its errors."""

from __future__ import annotations

import os
import re
import select
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from k9ops.config.settings import Settings, get_settings
from k9ops.errors import DatabaseUnavailable

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_UNAVAILABLE_CLASSES = ("08", "53")
_UNAVAILABLE_STATES = frozenset({"57P01", "57P02", "57P03", "57P05", "25006"})

_MS_PER_S = 1000
_PING_AFTER_S = 10
_NAME_BYTES = 63  # PostgreSQL cuts application_name there.

_engine: Engine | None = None
_engine_lock = threading.Lock()
_inherited: list[Engine] = []


def get_engine() -> Engine:
    """Return the process's engine, made on first use from the settings.

    A forked child makes its own; its parent's connections stay open and are the parent's alone.

    Raises:
        SettingsInvalid: As `get_settings` says.
    """
    global _engine
    with _engine_lock:
        if _engine is None:
            settings = get_settings()
            _engine = create_engine_for(
                settings.sqlalchemy_url,
                settings,
                application_name=describe_process(sys.argv, os.getpid()),
            )
        return _engine


def dispose_engine() -> None:
    """Close the process's engine; the next `get_engine` makes another."""
    global _engine
    with _engine_lock:
        if _engine is not None:
            _engine.dispose()
        _engine = None


def _forget_inherited_engine() -> None:
    """Give a forked child a clean start; the parent's engine is kept unused, so that nothing finalises it."""
    global _engine, _engine_lock
    _engine_lock = threading.Lock()
    if _engine is not None:
        _inherited.append(_engine)
        _engine = None


os.register_at_fork(after_in_child=_forget_inherited_engine)


def describe_process(argv: list[str], pid: int) -> str:
    """Return the name by which PostgreSQL shows a process, e.g. `k9ops backup:4711` or `k9ops dramatiq:4712`.

    Args:
        argv: Command line of the process.
        pid: Its process id.
    """
    program = Path(argv[0]) if argv and argv[0] else Path("python")
    command = program.parent.name if program.name == "__main__.py" else program.stem
    if command == "k9ops":
        command = next((word for word in argv[1:] if not word.startswith("-")), "cli")
    suffix = f":{pid}"
    name = f"k9ops {command}".encode()[: _NAME_BYTES - len(suffix)].decode(errors="ignore")
    return name + suffix


def create_engine_for(url: URL, settings: Settings, *, application_name: str) -> Engine:
    """Return an engine with the time limits of the settings; it connects on first use.

    Sessions run in UTC. Their search path is `public`, for a role called k9ops would see schema `k9ops` before it.
    What the URL's query says (several hosts, `sslmode`, `connect_timeout`, `options`, …)
    goes to libpq and wins over the values given here.

    Args:
        url: With driver `postgresql+psycopg`.
        settings: Pool size and time limits.
        application_name: Shown in `pg_stat_activity`.
    """
    engine = create_engine(
        url,
        # One that is closed after use and opened again for the next costs more than the use.
        pool_size=settings.pool_size * 2,
        max_overflow=0,
        pool_use_lifo=True,
        connect_args=_connect_args(url, settings, application_name),
    )
    event.listen(engine, "checkin", _note_return)
    event.listen(engine, "checkout", _refuse_ended_session)
    return engine


@contextmanager
def open_autocommit(engine: Engine) -> Iterator[Connection]:
    """Open a connection on which each statement commits by itself, with the one round trip of its execution."""
    with engine.connect() as connection:
        yield connection.execution_options(isolation_level="AUTOCOMMIT")


def execute_alone(engine: Engine, statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Execute one statement that commits by itself, and return its rows.

    For the few statements that every run needs: SQLAlchemy's own way costs several times the CPU of the server's.

    Args:
        engine: The database.
        statement: With psycopg's placeholders, `%(name)s`.
        values: By name.

    Raises:
        DBAPIError: As SQLAlchemy raises it.
    """
    connection = engine.raw_connection()
    session: Any = connection.driver_connection
    is_clean = False
    try:
        session.autocommit = True
        cursor = session.execute(statement, values)
        rows = cursor.fetchall() if cursor.pgresult.nfields else []
        session.autocommit = False
        is_clean = True
        return rows
    except psycopg.Error as exc:
        raise DBAPIError.instance(statement, None, exc, psycopg.Error, dialect=engine.dialect) from exc
    finally:
        if not is_clean:
            # Also after an interrupt, which leaves the session in the middle of something.
            connection.invalidate()
        connection.close()


def _note_return(session: psycopg.Connection[Any] | None, record: ConnectionPoolEntry) -> None:
    record.info["returned_at_s"] = time.monotonic()


def _refuse_ended_session(session: psycopg.Connection[Any], record: ConnectionPoolEntry, _: object) -> None:
    """Replace a pooled session that has ended, without asking the server about one that was used just now.

    A server that ends a session says so, which makes the socket readable. A network that has dropped one says
    nothing, so that a session that has rested is asked.
    """
    returned_at_s = record.info.get("returned_at_s")
    if returned_at_s is None:
        return
    if time.monotonic() - returned_at_s < _PING_AFTER_S and not _is_readable(session):
        return
    try:
        was_autocommit, session.autocommit = session.autocommit, True
        session.execute("")
        session.autocommit = was_autocommit
    except psycopg.Error as exc:
        raise InvalidatePoolError from exc


def _is_readable(session: psycopg.Connection[Any]) -> bool:
    try:
        poll = select.poll()
        poll.register(session.fileno(), select.POLLIN)
        return bool(poll.poll(0))
    except psycopg.Error:
        return True


def _connect_args(url: URL, settings: Settings, application_name: str) -> dict[str, Any]:
    session = {
        "timezone": "UTC",
        "search_path": "public",
        "statement_timeout": settings.statement_timeout_s * _MS_PER_S,
        "lock_timeout": settings.lock_timeout_s * _MS_PER_S,
    }
    options = " ".join(f"-c {name}={value}" for name, value in session.items())
    given = url.query.get("options")
    arguments: dict[str, Any] = {
        "connect_timeout": settings.connect_timeout_s,
        "client_encoding": "utf8",
        "keepalives": 1,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 60 * _MS_PER_S,
    }
    own = {name: value for name, value in arguments.items() if name not in url.query}
    own["application_name"] = application_name
    own["options"] = f"{options} {given}" if isinstance(given, str) else options
    return own


def is_unavailable(error: BaseException) -> bool:
    """Tell whether an error means that PostgreSQL is away or takes no work for now.

    Covers refused, reset and timed-out connections, shutdown and start-up of the server, too many
    connections, other lack of resources, a server that is read-only (a standby) and an exhausted pool.
    A statement or lock time-out is not one of them.
    """
    if isinstance(error, DatabaseUnavailable | PoolTimeout):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or (error.orig is not None and is_unavailable(error.orig))
    if not isinstance(error, psycopg.Error):
        return False
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.OperationalError)
    return state in _UNAVAILABLE_STATES or state.startswith(_UNAVAILABLE_CLASSES)


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn errors of an absent PostgreSQL, met inside, into `DatabaseUnavailable`; others pass.

    Raises:
        DatabaseUnavailable: As `is_unavailable` says; the detail has PostgreSQL's own words.
    """
    try:
        yield
    except (DBAPIError, PoolTimeout, psycopg.Error) as exc:
        if not is_unavailable(exc):
            raise
        original = exc.orig if isinstance(exc, DBAPIError) and exc.orig is not None else exc
        words = str(original).strip()
        said = f"PostgreSQL is not available: {_shorten(words)}.{_advise(words)}"
        raise DatabaseUnavailable(said, reason=words) from exc


def _advise(words: str) -> str:
    """Return what to do about libpq's complaint of a certificate, with a space before it; "" for all else."""
    if "certificate verify failed" in words or "root certificate file" in words:
        return " Name the certificate of its authority in DATABASE_URL: ?sslmode=verify-full&sslrootcert=FILE."
    if "does not match host name" in words:
        return " Name in DATABASE_URL the host that its certificate is for."
    return ""


def _shorten(words: str) -> str:
    """Keep what a person needs of libpq's message: no host, no socket's path, no hint."""
    last = re.split(r"\bfailed: ", words)[-1]
    return " ".join((last.splitlines() or ["no answer"])[0].split()).rstrip(".")
