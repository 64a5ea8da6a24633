"""What a person can choose for a parameter that names a project, dog or employee: those that the application has."""

from __future__ import annotations

from sqlalchemy import Engine, text

from k9ops.db.application import APPLICATION_SCHEMA, inspect_application
from k9ops.db.engine import database_errors
from k9ops.reports.definition import Report

#: With more of them a list helps nobody; then the code is typed.
MOST_CHOICES = 500

_CODES = {"project": "code", "dog": "code", "employee": "employee_id"}


def list_choices(engine: Engine, report: Report) -> dict[str, list[tuple[str, str]]]:
    """Return for each parameter that has a list of choices its codes with their names, by name.

    Args:
        engine: The application's database.
        report: Its parameters.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    wanted = {item.name: item.kind for item in report.all_parameters if item.kind in _CODES}
    found: dict[str, list[tuple[str, str]]] = {}
    with database_errors(), engine.begin() as connection:
        schema = inspect_application(connection)
        for table in sorted(set(wanted.values())):
            code = _CODES[table]
            if not (schema.has(table, code) and schema.has(table, "name")):
                continue
            listed = f"SELECT {code}, name FROM {APPLICATION_SCHEMA}.{table} WHERE {code} <> ''"
            statement = text(f"{listed} ORDER BY name, {code} LIMIT :n")
            rows = connection.execute(statement, {"n": MOST_CHOICES + 1}).all()
            if 0 < len(rows) <= MOST_CHOICES:
                found[table] = [(str(row[0]), str(row[1])) for row in rows]
    return {name: found[table] for name, table in wanted.items() if table in found}
