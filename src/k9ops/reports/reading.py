"""Reading a report's rows: one snapshot, read-only, a few hundred rows in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import (
    Column,
    Connection,
    CursorResult,
    Engine,
    Select,
    Table,
    Text,
    and_,
    cast,
    or_,
    select,
    text,
    true,
)
from sqlalchemy.sql import ColumnElement

from k9ops.db.application import APPLICATION_SCHEMA, ApplicationSchema, inspect_application
from k9ops.db.application_tables import build_metadata
from k9ops.db.engine import database_errors
from k9ops.errors import DatabaseInvalid, ParamsInvalid
from k9ops.outcome import Execution
from k9ops.reports.definition import Report, Row
from k9ops.reports.parameters import Month, Reference

_FETCH_ROWS = 500


@contextmanager
def open_reading(
    engine: Engine, report: Report, values: Mapping[str, Any], *, zone: ZoneInfo, today: date, execution: Execution
) -> Iterator[Reading]:
    """Open the one snapshot that all sections of a report are read from.

    Raises:
        DatabaseInvalid: This is no database of the K9 application.
        DatabaseUnavailable: PostgreSQL does not answer.
        ReportUnavailable: This generation lacks a table.
        ParamsInvalid: A project, dog, employee or handler report does not exist.
    """
    with database_errors(), engine.begin() as connection:
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        schema = inspect_application(connection)
        if schema.generation is None:
            raise DatabaseInvalid("This is no database of the K9 application.")
        report.require(schema)
        reading = Reading(connection, schema, values, zone=zone, today=today, execution=execution)
        try:
            reading.resolve()
            yield reading
        finally:
            reading.close()


class Reading:
    """The snapshot, and what a section's query needs beside it.

    Args:
        connection: In a REPEATABLE READ, read-only transaction.
        schema: The application's tables.
        values: Parameters; references are replaced by ids when `resolve` has found them.
        zone: The unit's time zone.
        today: The unit's date.
        execution: Asked whether to stop at each batch of rows.
    """

    def __init__(
        self,
        connection: Connection,
        schema: ApplicationSchema,
        values: Mapping[str, Any],
        *,
        zone: ZoneInfo,
        today: date,
        execution: Execution,
    ) -> None:
        self.connection, self.schema, self.zone, self.today = connection, schema, zone, today
        self.generation = schema.generation or "B"
        self.values: dict[str, Any] = dict(values)
        self.labels: dict[str, str] = {}
        self._execution = execution
        self._open: list[CursorResult[Any]] = []
        self._tables = build_metadata(self.generation).tables

    def table(self, name: str, alias: str | None = None) -> Any:
        """Return a table of the application, or an alias of it."""
        table: Table = self._tables[f"{APPLICATION_SCHEMA}.{name}"]
        return table.alias(alias) if alias else table

    def stream(self, statement: Any) -> Iterator[Row]:
        """Run a query by a server-side cursor; yield its rows by label."""
        result = self.connection.execution_options(stream_results=True, yield_per=_FETCH_ROWS).execute(statement)
        self._open.append(result)
        for batch in result.mappings().partitions():
            self._execution.check_stop()
            for row in batch:
                yield dict(row)
        self._open.remove(result)

    def close(self) -> None:
        """Close the cursors of queries that were not read to their end."""
        for result in self._open:
            result.close()

    def scalar(self, statement: Select[Any]) -> Any:
        """Return the one value of a query."""
        return self.connection.scalar(statement)

    def resolve(self) -> None:
        """Look up every reference once, so that a mistyped code is an error and not an empty report.

        Raises:
            ParamsInvalid: Names the parameter.
        """
        for name, value in self.values.items():
            if isinstance(value, Reference):
                self.values[name], self.labels[name] = self._find(name, value)

    def _find(self, name: str, reference: Reference) -> tuple[Any, str]:
        kind = {"trainer": "employee", "report": "handler_report"}.get(name, name)
        table = self.table(kind)
        code = {"project": "code", "dog": "code", "employee": "employee_id"}.get(kind)
        label = table.c.date if kind == "handler_report" else table.c.name
        match = [table.c.id == reference.id] if reference.id else []
        if code is not None:
            match.append(table.c[code] == reference.text)
        found = (
            self.connection.execute(select(table.c.id, cast(label, Text)).where(or_(*match))).first() if match else None
        )
        if found is None:
            words = kind.replace("_", " ")
            raise ParamsInvalid(f"{name} = {reference.text!r}: there is no such {words}.")
        return found[0], f"{found[1]} ({reference.text})" if code else found[1]

    def within(self, column: Column[Any]) -> ColumnElement[bool]:
        """Limit a column of dates to the period `from`-`to`."""
        return column.between(self.values["from"], self.values["to"])

    def within_month(self, column: Column[Any]) -> ColumnElement[bool]:
        """Limit a column of dates to `month`."""
        month: Month = self.values["month"]
        return column.between(month.first, month.last)

    def within_local(self, column: Column[Any], first: date, last: date) -> ColumnElement[bool]:
        """Limit a naive UTC timestamp to local days."""
        return and_(column >= self.to_utc(first), column < self.to_utc(last + timedelta(days=1)))

    def to_utc(self, day: date) -> datetime:
        """Return the beginning of a local day as naive UTC."""
        local = datetime.combine(day, time(), tzinfo=self.zone)
        return local.astimezone(ZoneInfo("UTC")).replace(tzinfo=None)

    def matches(self, name: str, column: Any) -> ColumnElement[bool]:
        """Limit a column to a parameter's value, if it has one."""
        value = self.values.get(name)
        return true() if value is None else column == value
