"""One moment of a database: an exported snapshot, and what can be counted in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import IsolationLevel
from psycopg.sql import SQL, Identifier, Literal

from k9ops.backups.connections import DatabaseTarget, Session, fetch_stoppably, open_session
from k9ops.backups.databases import read_shape, server_version
from k9ops.backups.manifest import AuditHead, DatabaseShape
from k9ops.errors import TransientError
from k9ops.outcome import Execution

# What pg_dump writes rows for: ordinary tables and leaf partitions, without those of an extension.
_TABLES = """
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                    AND d.deptype = 'e')
    ORDER BY 1, 2
"""
_REVISIONS = """
    SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relname = 'alembic_version' ORDER BY 1
"""
# Dependencies on the bootstrap superuser are not recorded in pg_shdepend: hence the look at tables and functions.
_ROLES = """
    WITH named (role, is_owner) AS (
        SELECT refobjid, deptype = 'o' FROM pg_shdepend
        WHERE refclassid = 'pg_authid'::regclass AND deptype IN ('o', 'a', 'r')
        AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
        UNION ALL
        SELECT o.owner, true FROM (SELECT relowner, relnamespace FROM pg_class UNION ALL
                                   SELECT proowner, pronamespace FROM pg_proc) AS o (owner, namespace)
        JOIN pg_namespace n ON n.oid = o.namespace
        WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema')
    SELECT r.rolname, bool_or(is_owner) FROM named JOIN pg_roles r ON r.oid = role
    WHERE r.rolname !~ '^pg_' GROUP BY 1 ORDER BY 1
"""

_AUDIT_HEAD = "SELECT chain_id::text, last_id, encode(hash, 'hex') FROM k9ops.audit_head"


@dataclass(frozen=True)
class Snapshot:
    """What was read in one snapshot.

    Attributes:
        snapshot_id: For `pg_dump --snapshot`, valid while the session is open.
        taken_at: Aware UTC.
        database: Name.
        size_bytes: Of the database on the server's disk.
        shape: Encoding and locale.
        server_version: E.g. `15.18`.
        tables: Exact row count by `schema.table`.
        schema_revision: Alembic revision by schema.
        owners: Roles that own something.
        grantees: Other roles that privileges and policies name.
        audit: Head of the audit chain; None where there is none.
    """

    snapshot_id: str
    taken_at: datetime
    database: str
    size_bytes: int
    shape: DatabaseShape
    server_version: str
    tables: dict[str, int]
    schema_revision: dict[str, str]
    owners: tuple[str, ...]
    grantees: tuple[str, ...]
    audit: AuditHead | None


@contextlib.contextmanager
def open_snapshot(
    target: DatabaseTarget, *, lock_wait_s: int, execution: Execution
) -> Iterator[tuple[Session, Snapshot]]:
    """Export a snapshot and count all tables in it; it stays valid until the end of the block.

    A counted table stays locked against TRUNCATE, which does not respect snapshots, until the block ends.

    Raises:
        TransientError: A table stayed locked for longer than `lock_wait_s`.
        DatabaseUnavailable: The server went away.
        DatabaseInvalid: The role may not read a table.
    """
    with open_session(target) as session:
        session.isolation_level = IsolationLevel.REPEATABLE_READ
        session.read_only = True
        session.execute(SQL("SET lock_timeout = {}").format(Literal(f"{lock_wait_s}s")))
        session.autocommit = False
        try:
            snapshot = _take(session, execution)
        except psycopg.errors.LockNotAvailable as exc:
            message = f"Another session has locked a table for over {lock_wait_s} s."
            raise TransientError(message, reason=str(exc)) from exc
        yield session, snapshot


def count_rows(session: Session, *, execution: Execution) -> dict[str, int]:
    """Count every row that pg_dump would write, by `schema.table`."""
    session.execute("SET row_security = off")
    counts: dict[str, int] = {}
    for schema, table in list_tables(session):
        query = SQL("SELECT count(*) FROM ONLY {}").format(Identifier(schema, table))
        [(counts[table_label(schema, table)],)] = fetch_stoppably(session, query, execution=execution)
    return counts


def list_tables(session: Session) -> list[tuple[str, str]]:
    """Return schema and name of every table whose rows pg_dump would write."""
    return [(schema, table) for schema, table in session.execute(_TABLES).fetchall()]


def table_label(schema: str, table: str) -> str:
    """Return `schema.table`; a part that holds a dot or a quote is quoted, so that labels stay distinct."""
    return ".".join(
        '"' + part.replace('"', '""') + '"' if "." in part or '"' in part else part for part in (schema, table)
    )


def _take(session: Session, execution: Execution) -> Snapshot:
    row: Any = session.execute(
        "SELECT pg_export_snapshot(), now(), current_database(), pg_database_size(current_database())"
    ).fetchone()
    roles = session.execute(_ROLES).fetchall()
    return Snapshot(
        snapshot_id=row[0],
        taken_at=row[1],
        database=row[2],
        size_bytes=row[3],
        shape=read_shape(session),
        server_version=server_version(session),
        tables=count_rows(session, execution=execution),
        schema_revision=_read_revisions(session),
        owners=tuple(name for name, is_owner in roles if is_owner),
        grantees=tuple(name for name, is_owner in roles if not is_owner),
        audit=_read_audit_head(session),
    )


def _read_audit_head(session: Session) -> AuditHead | None:
    found: Any = session.execute("SELECT to_regclass('k9ops.audit_head') IS NOT NULL").fetchone()
    if not found[0]:
        return None
    row = session.execute(_AUDIT_HEAD).fetchone()
    return AuditHead(chain_id=row[0], last_id=row[1], hash=row[2]) if row else None


def _read_revisions(session: Session) -> dict[str, str]:
    revisions: dict[str, str] = {}
    for (schema,) in session.execute(_REVISIONS).fetchall():
        query = SQL("SELECT version_num FROM {} ORDER BY 1").format(Identifier(schema, "alembic_version"))
        revisions[schema] = ",".join(str(version) for (version,) in session.execute(query))
    return revisions
