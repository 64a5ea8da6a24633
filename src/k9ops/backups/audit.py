"""Audit entries of restores: into the database that is live, and carried over when another takes its place."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from k9ops.backups.connections import DatabaseTarget, Session, open_session
from k9ops.config.logging import get_logger
from k9ops.errors import K9opsError, TransientError

_HAS_TABLE = "SELECT to_regclass('k9ops.audit_event') IS NOT NULL"
_INSERT = """
    INSERT INTO k9ops.audit_event (at, actor, action, target_type, target_id, before, after)
    VALUES (coalesce(%s, now()), %s, %s, 'database', %s, %s, %s)
"""
# The text of a jsonb value is the same wherever it is stored.
_SINCE = """
    SELECT at, actor, action, target_type, target_id, before::text, after::text, run_id
    FROM k9ops.audit_event WHERE at >= %s ORDER BY id
"""
_COPY = """
    INSERT INTO k9ops.audit_event (at, actor, action, target_type, target_id, before, after, run_id)
    VALUES (%s, %s, %s, %s, %s, %s::jsonb, %s::jsonb, %s)
"""
# Whoever holds the table for longer must not keep us from going on: it is tried again later.
_LOCK = "SET LOCAL lock_timeout = '5s'; LOCK TABLE k9ops.audit_event IN SHARE ROW EXCLUSIVE MODE"
_FIND = "SELECT FROM k9ops.audit_event WHERE target_type = 'database' AND target_id = %s AND after ->> 'swap_id' = %s"

log = get_logger("k9ops.backups")


def record_event(
    target: DatabaseTarget,
    *,
    actor: str,
    action: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> bool:
    """Write an entry about the live database into it; a database that cannot take it is logged and stops nothing.

    Args:
        target: The live database.
        actor: Who did it.
        action: `start_restore`, `compare`, `drop_undo`, ….
        before: JSON values.
        after: JSON values.

    Returns:
        Whether it was written; False also where k9ops has no tables.
    """
    try:
        with open_session(target) as session:
            if not _has_table(session):
                return False
            session.execute(_INSERT, [None, actor, action, target.database, _json(before), _json(after)])
            return True
    except (K9opsError, psycopg.Error) as exc:
        log.warning("audit.unwritten", action=action, database=target.database, reason=str(exc))
        return False


def record_swap_once(
    target: DatabaseTarget, *, at: datetime, live: str, actor: str, action: str, after: Mapping[str, Any]
) -> None:
    """Write the entry of a swap into one of its two databases, unless it has it already.

    Args:
        target: That database.
        at: When it was, the same for both: they must not take it for two entries.
        live: Name of the live one.
        actor: Who asked for it.
        action: `swap` or `undo`.
        after: With `swap_id`.

    Raises:
        DatabaseUnavailable: It cannot be reached.
        DatabaseInvalid: The role may not write.
        TransientError: The table is in use.
    """
    with open_session(target) as session, _busy(), session.transaction():
        if not _has_table(session):
            return
        session.execute(_LOCK)
        if session.execute(_FIND, [live, after["swap_id"]]).fetchone() is None:
            session.execute(_INSERT, [at, actor, action, live, None, _json(after)])


def carry_events(source: DatabaseTarget, destination: DatabaseTarget, *, since: datetime) -> int:
    """Copy the entries since a moment that the destination lacks; called again it copies nothing more.

    Args:
        source: Database whose entries must not be lost.
        destination: Database that is to be, or has become, the live one.
        since: Aware; before this both have the same entries.

    Returns:
        How many were copied; 0 also where one of them has no tables of k9ops.

    Raises:
        DatabaseUnavailable: One cannot be reached.
        DatabaseInvalid: The role may not read or write.
        TransientError: The destination's table is in use.
    """
    with open_session(source) as session:
        theirs = session.execute(_SINCE, [since]).fetchall() if _has_table(session) else []
    with open_session(destination) as session, _busy(), session.transaction():
        if not _has_table(session):
            return 0
        session.execute(_LOCK)
        present = Counter(session.execute(_SINCE, [since]).fetchall())
        missing = []
        for row in theirs:
            if present[row] > 0:
                present[row] -= 1
            else:
                missing.append(row)
        if missing:
            session.cursor().executemany(_COPY, missing)
        return len(missing)


@contextlib.contextmanager
def _busy() -> Iterator[None]:
    try:
        yield
    except psycopg.errors.LockNotAvailable as exc:
        raise TransientError("The audit table of k9ops is in use; try again.", reason=str(exc)) from exc


def _has_table(session: Session) -> bool:
    row: Any = session.execute(_HAS_TABLE).fetchone()
    return bool(row[0])


def _json(value: Mapping[str, Any] | None) -> Jsonb | None:
    return None if value is None else Jsonb(dict(value))
