"""Puts the sample data into a database."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing
from datetime import date
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Json
from sqlalchemy import Connection, Engine, text

from k9ops.db.application import APPLICATION_SCHEMA, ApplicationSchema, Generation, inspect_application
from k9ops.db.application_tables import build_metadata
from k9ops.db.engine import database_errors
from k9ops.db.sample.care import add_care
from k9ops.db.sample.members import add_members
from k9ops.db.sample.records import add_backup_settings, add_records
from k9ops.db.sample.schedules import add_attendance, add_schedules
from k9ops.db.sample.unit import Row, SampleUnit
from k9ops.errors import DatabaseInvalid

_LATE_USER_COLUMNS = ("project_id", "dog_id")  # They point to tables that point back to users.
_LOCK_KEY = 0x6B397365656400  # "k9seed" in ASCII


def _no_progress(done: int, total: int, unit: str) -> None:
    return None


def seed(
    engine: Engine,
    generation: Generation,
    *,
    today: date,
    seed: int = 1,
    force: bool = False,
    progress: Callable[[int, int, str], None] = _no_progress,
) -> dict[str, int]:
    """Fill the application's tables with an invented dog unit, in one transaction.

    The tables are made when the database has none of them. The same `generation`, `today` and `seed` give the same rows
    on an empty database.

    Args:
        engine: Connected to the database to fill.
        generation: Which tables to make; must be that of the tables that exist.
        today: The unit's date that the data ends at.
        seed: Another number gives another unit.
        force: Add to a database that already has users.
        progress: Told (done, total, "rows").

    Returns:
        Rows added, by table.

    Raises:
        DatabaseInvalid: There are users already, the tables are of the other generation or incomplete, or what is there
            does not take the sample's rows.
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    with database_errors(), engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        schema = _prepare_tables(connection, generation)
        users, employees = _count(connection, "user"), _count(connection, "employee")
        if users and not force:
            raise DatabaseInvalid(
                f"This database has {users} K9 users already; sample data would be mixed with theirs.", users=users
            )
        number = max(users, employees)
        unit = _invent(generation, today, f"{seed}/{number}", first_number=number)
        if not _count(connection, "backup_settings"):
            add_backup_settings(unit)
        try:
            _write(connection, schema, unit, progress)
        except psycopg.IntegrityError as exc:
            raise DatabaseInvalid(
                "The rows in this database do not go together with the sample data.", reason=str(exc)
            ) from exc
    return {table: len(rows) for table, rows in unit.rows.items()}


def _count(connection: Connection, table: str) -> int:
    found: int = connection.execute(text(f'SELECT count(*) FROM {APPLICATION_SCHEMA}."{table}"')).scalar_one()
    return found


def _prepare_tables(connection: Connection, generation: Generation) -> ApplicationSchema:
    """Make the tables where there are none, or make sure that those which exist will do."""
    metadata = build_metadata(generation)
    wanted = {table.name: [column.name for column in table.columns] for table in metadata.tables.values()}
    schema = inspect_application(connection)
    if not any(schema.has(table) for table in wanted):
        metadata.create_all(connection)
        return inspect_application(connection)
    if schema.generation not in (generation, None):
        raise DatabaseInvalid(
            f"The tables in this database are of generation {schema.generation}, not {generation}.",
            generation=schema.generation,
        )
    missing = [table for table in wanted if not schema.has(table)]
    if missing:
        raise DatabaseInvalid(f"The application's tables are incomplete; missing: {', '.join(missing)}.")
    unknown = _unknown_required_columns(connection, wanted)
    if unknown:
        raise DatabaseInvalid(f"Sample data has no values for columns that need one: {', '.join(unknown)}.")
    return schema


def _unknown_required_columns(connection: Connection, wanted: dict[str, list[str]]) -> list[str]:
    rows = connection.execute(
        text(
            "SELECT c.relname, a.attname FROM pg_catalog.pg_class c"
            " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
            " WHERE c.relnamespace = CAST(:schema AS regnamespace) AND c.relname = ANY(:tables)"
            " AND a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' ORDER BY 1, a.attnum"
        ),
        {"schema": APPLICATION_SCHEMA, "tables": list(wanted)},
    )
    return [f"{table}.{column}" for table, column in rows if column not in wanted[table]]


def _invent(generation: Generation, today: date, chance: str, *, first_number: int) -> SampleUnit:
    unit = SampleUnit(generation, today, first_number, random.Random(chance))  # noqa: S311 - sample data, no secret
    add_members(unit)
    add_schedules(unit)
    if generation == "A":
        add_attendance(unit)
    add_care(unit)
    add_records(unit)
    return unit


def _write(
    connection: Connection, schema: ApplicationSchema, unit: SampleUnit, progress: Callable[[int, int, str], None]
) -> None:
    total = sum(len(rows) for rows in unit.rows.values())
    done = 0
    progress(done, total, "rows")
    with closing(connection.connection.cursor()) as cursor:
        for name, rows in _in_order(unit.rows):
            late = _LATE_USER_COLUMNS if name == "user" else ()
            columns = [column for column in rows[0] if column not in late and schema.has(name, column)]
            _copy(cursor, name, columns, rows)
            done += len(rows)
            progress(done, total, "rows")
        cursor.executemany(
            f'UPDATE {APPLICATION_SCHEMA}."user" SET project_id = %(project_id)s, dog_id = %(dog_id)s'
            " WHERE id = %(id)s",
            [row for row in unit.rows["user"] if row["project_id"]],
        )


def _in_order(rows: dict[str, list[Row]]) -> list[tuple[str, list[Row]]]:
    """Return the tables so that each comes after those it points to; `add` met most of them in that order."""
    first = ("employee", "user", "dog", "project")
    return [(name, rows[name]) for name in (*first, *(name for name in rows if name not in first))]


def _copy(cursor: Any, table: str, columns: list[str], rows: list[Row]) -> None:
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(APPLICATION_SCHEMA, table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row([_adapt(row[column]) for column in columns])


def _adapt(value: Any) -> Any:
    return Json(value) if isinstance(value, dict | list) else value
