"""Checks of PostgreSQL: the server, k9ops' own tables, the application's."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import text

from k9ops.cli.checks.finding import Finding
from k9ops.config.settings import Settings
from k9ops.db import migrate
from k9ops.db.application import inspect_application
from k9ops.db.engine import database_errors, get_engine

_OLDEST_MAJOR = 14
_VERSION_FACTOR = 10_000


def read_server_version() -> tuple[int, str]:
    """Return the major version and the whole one.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    with database_errors(), get_engine().connect() as connection:
        number = int(str(connection.scalar(text("SHOW server_version_num"))))
        version = str(connection.scalar(text("SHOW server_version")))
    return number // _VERSION_FACTOR, version.split()[0]


def check_database(settings: Settings) -> Iterator[Finding]:
    """Check that PostgreSQL answers, and how old it is."""
    major, version = read_server_version()
    url = settings.sqlalchemy_url
    place = f"PostgreSQL {version}, database {url.database} on {url.host or 'the local socket'}."
    if major < _OLDEST_MAJOR:
        yield Finding(
            "database", "warn", place, f"It is older than any version that is tried; use {_OLDEST_MAJOR} or later."
        )
    else:
        yield Finding("database", "ok", place)


def check_migrations() -> Iterator[Finding]:
    """Check that k9ops' tables are at the newest revision."""
    current, head = migrate.check(get_engine())
    if current == head:
        yield Finding("migrations", "ok", f"The tables of k9ops are at the newest revision, {head}.")
    else:
        found = f"The tables of k9ops are at {current or 'no revision'}, not at {head}."
        yield Finding("migrations", "fail", found, "Run `k9ops db upgrade`.")


def check_application() -> Iterator[Finding]:
    """Check that the database is one of the K9 application."""
    with database_errors(), get_engine().connect() as connection:
        generation = inspect_application(connection).generation
    if generation:
        yield Finding("application", "ok", f"The application's tables are of generation {generation}.")
    else:
        advice = "Is DATABASE_URL that of the K9 application? `k9ops db seed` makes its tables, with sample data."
        yield Finding("application", "fail", "There are no tables of the K9 application in this database.", advice)
