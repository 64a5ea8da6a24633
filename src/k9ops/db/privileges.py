"""What the service's own role may do with the tables of k9ops, where another role owns them."""

from __future__ import annotations

import psycopg
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from k9ops.db.engine import database_errors
from k9ops.db.own_tables import SCHEMA, audit_event, audit_head, metadata
from k9ops.errors import DatabaseInvalid

_EVERYTHING = "SELECT, INSERT, UPDATE, DELETE"
# Triggers that run as the owner move the head.
_LESS = {audit_event.name: "SELECT, INSERT", audit_head.name: "SELECT", "alembic_version": "SELECT"}


def grant_service(engine: Engine, role: str) -> None:
    """Give a role what the service needs of the tables of k9ops; it may only append audit entries.

    Given again after an upgrade, it covers the new tables too. Where the role owns the tables itself, it only loses
    the right to change audit entries, and could give it back to itself.

    Args:
        engine: Its role owns the tables.
        role: Name of the service's role.

    Raises:
        DatabaseInvalid: There is no such role, or the tables are another role's.
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    with database_errors(), engine.begin() as connection:
        quoted, is_owner = _look_up(connection, role)
        try:
            connection.execute(text(f"REVOKE ALL ON {audit_event} FROM PUBLIC"))
            connection.execute(text(f"REVOKE UPDATE, DELETE, TRUNCATE ON {audit_event} FROM {quoted}"))
            if is_owner:
                return
            connection.execute(text(f"GRANT USAGE ON SCHEMA {SCHEMA} TO {quoted}"))
            connection.execute(text(f"REVOKE ALL ON {audit_head} FROM {quoted}"))
            for name in (*(table.name for table in metadata.sorted_tables), "alembic_version"):
                connection.execute(text(f"GRANT {_LESS.get(name, _EVERYTHING)} ON {SCHEMA}.{name} TO {quoted}"))
        except DBAPIError as exc:
            if isinstance(exc.orig, psycopg.errors.InsufficientPrivilege):
                raise DatabaseInvalid(
                    "The tables of k9ops belong to another role: let that one run `k9ops db upgrade --service-role`.",
                    reason=str(exc.orig),
                ) from exc
            raise


def _look_up(connection: Connection, role: str) -> tuple[str, bool]:
    row = connection.execute(
        text(
            "SELECT quote_ident(rolname), oid = (SELECT relowner FROM pg_class WHERE oid = CAST(:name AS regclass))"
            " FROM pg_roles WHERE rolname = :role"
        ),
        {"role": role, "name": str(audit_event)},
    ).one_or_none()
    if row is None:
        raise DatabaseInvalid(f"PostgreSQL has no role {role!r}; create it first: CREATE ROLE … LOGIN.")
    return row[0], row[1]
