"""Migrations of k9ops' own tables; the application's schema `public` is never touched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from k9ops.db.engine import database_errors
from k9ops.db.own_tables import SCHEMA
from k9ops.errors import DatabaseInvalid, TransientError

if TYPE_CHECKING:
    from alembic.config import Config

_LOCK_KEY = 0x6B396F7073  # "k9ops" in ASCII
_LOCK_WAIT_S = 60


def upgrade(engine: Engine, *, lock_wait_s: int = _LOCK_WAIT_S) -> str:
    """Bring k9ops' tables to the newest revision, in one transaction.

    Safe from several processes at once: an advisory lock is held for the whole upgrade.

    Args:
        engine: Its role needs CREATE on the database, or on a schema `k9ops` that an administrator made.
        lock_wait_s: Longest wait for another process's upgrade.

    Returns:
        The revision in force afterwards.

    Raises:
        TransientError: Another upgrade took longer than `lock_wait_s`, or a table was in use for too long.
        DatabaseInvalid: The role may not create the schema, or the tables are of a newer k9ops.
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    from alembic import command  # here and below: 9 MB that every process would carry
    from alembic.util import CommandError

    config = _config()
    with (
        database_errors(),
        engine.connect() as connection,
        _upgrade_lock(connection, lock_wait_s),
        _busy("The tables of k9ops are in use; try the upgrade again."),
        connection.begin(),
    ):
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        _ensure_schema(connection)
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as exc:
            raise DatabaseInvalid(
                "The tables of k9ops do not suit this version; install the newer k9ops that made them.",
                reason=str(exc),
            ) from exc
    return head()


def current(engine: Engine) -> str | None:
    """Return the revision of k9ops' tables, or None before the first upgrade.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    from alembic.runtime.migration import MigrationContext

    with database_errors(), engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA})
        return context.get_current_revision()


def head() -> str:
    """Return the newest revision that this k9ops knows."""
    from alembic.script import ScriptDirectory

    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None  # noqa: S101 - the package ships its revisions
    return revision


def check(engine: Engine) -> tuple[str | None, str]:
    """Return the revision in force and the newest one; they are equal when nothing is to be done.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    return current(engine), head()


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "k9ops.db:migrations")
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _busy(user_message: str) -> Iterator[None]:
    """Turn a lock that was not granted in time into an error worth another attempt."""
    try:
        yield
    except DBAPIError as exc:
        if isinstance(exc.orig, psycopg.errors.LockNotAvailable):
            raise TransientError(user_message, reason=str(exc.orig)) from exc
        raise


@contextmanager
def _upgrade_lock(connection: Connection, wait_s: int) -> Iterator[None]:
    key = {"key": _LOCK_KEY}
    with (
        _busy(f"Another process has been upgrading k9ops' tables for over {wait_s} s; try again later."),
        connection.begin(),
    ):
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text(f"SET LOCAL lock_timeout = '{int(wait_s)}s'"))
        connection.execute(text("SELECT pg_advisory_lock(:key)"), key)
    try:
        yield
    finally:
        if not connection.invalidated:
            with connection.begin():
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)


def _ensure_schema(connection: Connection) -> None:
    exists, may_use, role = connection.execute(
        text(
            "SELECT to_regnamespace(:schema) IS NOT NULL,"
            " CASE WHEN to_regnamespace(:schema) IS NOT NULL"
            " THEN has_schema_privilege(:schema, 'CREATE') AND has_schema_privilege(:schema, 'USAGE') END,"
            " quote_ident(current_user)"
        ),
        {"schema": SCHEMA},
    ).one()
    if exists and not may_use:
        raise _needs_administrator(f"GRANT CREATE, USAGE ON SCHEMA {SCHEMA} TO {role};")
    if not exists:
        try:
            connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
        except DBAPIError as exc:
            if isinstance(exc.orig, psycopg.errors.InsufficientPrivilege):
                raise _needs_administrator(f"CREATE SCHEMA {SCHEMA} AUTHORIZATION {role};") from exc
            raise


def _needs_administrator(sql: str) -> DatabaseInvalid:
    return DatabaseInvalid(f"This role may not create tables in schema {SCHEMA}. An administrator must run here: {sql}")
