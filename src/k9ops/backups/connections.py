"""How pg_dump, pg_restore and our own sessions reach a database: one set of libpq parameters for all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any, LiteralString

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import Composed
from sqlalchemy.engine import URL

from k9ops.config.settings import Settings
from k9ops.config.sources import process_environment
from k9ops.db.engine import database_errors
from k9ops.errors import DatabaseInvalid
from k9ops.outcome import Execution

STOP_POLL_S = 0.25

_CANCEL_TIMEOUT_S = 5

_SECRETS = frozenset({"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"})
# A peer that vanished is noticed within a minute (libpq's parameters).
_DEAD_PEER = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}
_UNLIMITED = """
    SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('statement_timeout', 'lock_timeout',
    'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout')
"""

Session = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class DatabaseTarget:
    """A database and how to reach it.

    Attributes:
        parameters: By libpq's keywords, secrets included.
    """

    parameters: Mapping[str, str]

    @property
    def database(self) -> str:
        """Name of the database."""
        return self.parameters["dbname"]

    def with_database(self, database: str) -> DatabaseTarget:
        """Return another database of the same server."""
        return DatabaseTarget({**self.parameters, "dbname": database})

    def with_options(self, options: str) -> DatabaseTarget:
        """Add command line options for the server's session, e.g. `-c synchronous_commit=off`."""
        joined = f"{self.parameters.get('options', '')} {options}".strip()
        return DatabaseTarget({**self.parameters, "options": joined})

    def at_host_of(self, session: Session) -> DatabaseTarget:
        """Name the one host of several that a session is connected to."""
        return replace(self, parameters={**self.parameters, "host": session.info.host, "port": str(session.info.port)})

    def program_argument(self) -> str:
        """Return the value of `--dbname`, which everybody on the machine can read: without secrets."""
        return make_conninfo("", **{key: value for key, value in self.parameters.items() if key not in _SECRETS})

    def program_environment(self) -> dict[str, str]:
        """Return the environment for a PostgreSQL program, with the password and messages in English.

        PGCLIENTENCODING would make pg_dump convert all text, and PGOPTIONS change its session.
        """
        environment = {**process_environment(), "LC_ALL": "C"}
        for name in ("PGCLIENTENCODING", "PGOPTIONS"):
            environment.pop(name, None)
        if "password" in self.parameters:
            environment["PGPASSWORD"] = self.parameters["password"]
        return environment


def target_of(url: URL, settings: Settings) -> DatabaseTarget:
    """Return the libpq parameters of a URL as SQLAlchemy understands it."""
    _, arguments = url.get_dialect()().create_connect_args(url)
    parameters = {key: str(value) for key, value in arguments.items()}
    for name, value in (*_DEAD_PEER.items(), ("connect_timeout", settings.connect_timeout_s)):
        parameters.setdefault(name, str(value))
    parameters["application_name"] = "k9ops backups"
    return DatabaseTarget(parameters)


@contextlib.contextmanager
def open_session(target: DatabaseTarget) -> Iterator[Session]:
    """Connect without any limit on time, each statement its own transaction; errors in the block are translated.

    Names are read as UTF-8 whatever the database is in: in an SQL_ASCII database they would come as bytes.

    Raises:
        DatabaseUnavailable: The server does not answer, refuses, or ended the session.
        DatabaseInvalid: The role lacks a privilege.
    """
    with _server_errors():
        parameters = {**target.parameters, "client_encoding": "utf8"}
        session = psycopg.connect(make_conninfo("", **parameters), autocommit=True)
        try:
            session.execute(_UNLIMITED)
            yield session
        finally:
            with contextlib.suppress(psycopg.Error):
                session.close()


@contextlib.contextmanager
def _server_errors() -> Iterator[None]:
    try:
        with database_errors():
            yield
    except psycopg.errors.InsufficientPrivilege as exc:
        raise DatabaseInvalid(f"PostgreSQL refuses: {exc.diag.message_primary}.", reason=str(exc)) from exc


def fetch_stoppably(
    session: Session, query: LiteralString | Composed, *, execution: Execution
) -> list[tuple[Any, ...]]:
    """Run a statement that may take long and return its rows; cancel it in the server when the run must stop."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(_fetch, session, query)
        try:
            while not wait([future], timeout=STOP_POLL_S).done:
                execution.check_stop()
        except BaseException:
            with contextlib.suppress(psycopg.Error):
                session.cancel_safe(timeout=_CANCEL_TIMEOUT_S)
            raise
        return future.result()


def _fetch(session: Session, query: LiteralString | Composed) -> list[tuple[Any, ...]]:
    cursor = session.execute(query)
    return cursor.fetchall() if cursor.description else []
