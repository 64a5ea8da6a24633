"""What the K9 application's database holds: its generation, tables and columns, found once by inspection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, text

from k9ops.errors import DatabaseInvalid

Generation = Literal["A", "B"]

APPLICATION_SCHEMA = "public"

_ESSENTIAL = ("user", "dog", "daily_schedule", "notification")
_ONLY_IN_B = (("user", "employee_id"), ("daily_schedule", "locked_at"), ("handler_report", "report_type"))


@dataclass(frozen=True)
class ApplicationSchema:
    """The application's tables as they are.

    Attributes:
        columns: Names of the columns of each table and view of schema `public`.
    """

    columns: Mapping[str, frozenset[str]]

    @property
    def generation(self) -> Generation | None:
        """`A` (2025), `B` (2026), or None when the application's tables are missing."""
        if not all(self.has(table) for table in _ESSENTIAL):
            return None
        return "B" if any(self.has(table, column) for table, column in _ONLY_IN_B) else "A"

    def has(self, table: str, column: str | None = None) -> bool:
        """Tell whether a table, or a column of it, exists."""
        found = self.columns.get(table)
        return found is not None and (column is None or column in found)

    def require(self, table: str, *columns: str) -> None:
        """Make sure that a table, and columns of it, exist.

        Raises:
            DatabaseInvalid: Names what is missing.
        """
        missing = [f"{table}.{column}" for column in columns if not self.has(table, column)]
        if not self.has(table):
            missing = [table]
        if missing:
            raise DatabaseInvalid(
                "This is no database of the K9 application, or not a version that is known;"
                f" missing: {', '.join(missing)}.",
                missing=missing,
            )


def inspect_application(connection: Connection) -> ApplicationSchema:
    """Read from the catalogue which tables and columns the application has.

    Raises:
        DBAPIError: As SQLAlchemy raises it; use inside `database_errors`.
    """
    rows = connection.execute(
        text(
            "SELECT c.relname, array_agg(a.attname::text) FROM pg_catalog.pg_class c"
            " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
            " WHERE n.nspname = :schema AND c.relkind IN ('r', 'p', 'v', 'm', 'f') GROUP BY c.relname"
        ),
        {"schema": APPLICATION_SCHEMA},
    )
    return ApplicationSchema({table: frozenset(columns) for table, columns in rows})
