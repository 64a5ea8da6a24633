"""Audit entries of backups and restores: into the live database, and carried over when another takes its place."""

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
from k9ops.db.audit import LOCK_KEY
from k9ops.errors import DatabaseInvalid, K9opsError, TransientError

_LOOK = "SELECT to_regclass('k9ops.audit_event') IS NOT NULL, to_regclass('k9ops.audit_head') IS NOT NULL"
_INSERT = """
    INSERT INTO k9ops.audit_event (at, actor, origin, action, target_type, target_id, reason, before, after)
    VALUES (coalesce(%s, now()), %s, %s, %s, %s, %s, %s, %s, %s)
"""
# The text of a jsonb value is the same wherever it is stored.
_SINCE = """
    SELECT at, actor, origin, action, target_type, target_id, reason, before::text, after::text, run_id
    FROM k9ops.audit_event WHERE at >= %s AND target_type <> 'audit_chain' ORDER BY id
"""
# Of a database that was live with tables older than the chain.
_SINCE_OLDER = _SINCE.replace("origin", "NULL").replace("reason", "NULL")
_COPY = """
    INSERT INTO k9ops.audit_event (at, actor, origin, action, target_type, target_id, reason, before, after, run_id)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s::jsonb, %s)
"""
_BEGIN_CHAIN = """
    INSERT INTO k9ops.audit_event (actor, action, target_type, target_id, before, after)
    SELECT %s, 'begin_chain', 'audit_chain', gen_random_uuid()::text, jsonb_build_object('chain_id', chain_id), %s
    FROM k9ops.audit_head
"""
# Whoever holds the chain for longer must not keep us from going on: it is tried again later.
_LOCK = f"SET LOCAL lock_timeout = '5s'; SELECT pg_advisory_xact_lock({LOCK_KEY})"
_FIND = "SELECT FROM k9ops.audit_event WHERE target_type = 'database' AND target_id = %s AND after ->> 'swap_id' = %s"

log = get_logger("k9ops.backups")


def record_event(
    target: DatabaseTarget,
    *,
    actor: str,
    action: str,
    target_type: str = "database",
    target_id: str | None = None,
    origin: str | None = None,
    reason: str | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> bool:
    """Write an entry into the live database; a database that cannot take it is logged and stops nothing.

    Args:
        target: The live database.
        actor: Who did it.
        action: `start_restore`, `compare`, `drop_undo`, ….
        target_type: Of what.
        target_id: Which one; None is the live database itself.
        origin: From where.
        reason: Why, in the person's words.
        before: JSON values.
        after: JSON values.

    Returns:
        Whether it was written; False also where k9ops has no tables.
    """
    try:
        with open_session(target) as session, _busy(), session.transaction():
            if not _has_chain(session):
                return False
            session.execute(_LOCK)
            values = [None, actor, origin, action, target_type, target_id or target.database, reason]
            session.execute(_INSERT, [*values, _json(before), _json(after)])
            return True
    except (K9opsError, psycopg.Error) as exc:
        log.warning("audit.unwritten", action=action, database=target.database, reason=str(exc))
        return False


def record_swap_once(
    target: DatabaseTarget,
    *,
    at: datetime,
    live: str,
    actor: str,
    action: str,
    origin: str | None,
    reason: str | None,
    after: Mapping[str, Any],
) -> None:
    """Write the entry of a swap into one of its two databases, unless it has it already.

    Args:
        target: That database.
        at: When it was, the same for both: they must not take it for two entries.
        live: Name of the live one.
        actor: Who asked for it.
        action: `swap` or `undo`.
        origin: From where.
        reason: Why.
        after: With `swap_id`.

    Raises:
        DatabaseUnavailable: It cannot be reached.
        DatabaseInvalid: The role may not write.
        TransientError: The chain is in use.
    """
    with open_session(target) as session, _busy(), session.transaction():
        if not _look(session)[1]:
            return
        session.execute(_LOCK)
        if session.execute(_FIND, [live, after["swap_id"]]).fetchone() is None:
            session.execute(_INSERT, [at, actor, origin, action, "database", live, reason, None, _json(after)])


def begin_chain(target: DatabaseTarget, *, actor: str, backup_id: str | None) -> None:
    """Note in a restored database that its entries go on as a chain of their own; they begin with those of the backup.

    Notes of where the former chain stood later, in the manifests of newer backups, do not speak of this one.
    """
    with open_session(target) as session, _busy(), session.transaction():
        if _has_chain(session):
            session.execute(_LOCK)
            session.execute(_BEGIN_CHAIN, [actor, Jsonb({"backup_id": backup_id})])


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
        DatabaseInvalid: The role may not read or write, or the tables are older than this version.
        TransientError: The destination's chain is in use.
    """
    with open_session(source) as session:
        has_events, has_chain = _look(session)
        query = _SINCE if has_chain else _SINCE_OLDER
        theirs = session.execute(query, [since]).fetchall() if has_events else []
    with open_session(destination) as session, _busy(), session.transaction():
        if not _has_chain(session):
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


def _look(session: Session) -> tuple[bool, bool]:
    """Return whether there are audit entries, and whether they are a chain."""
    row: Any = session.execute(_LOOK).fetchone()
    return bool(row[0]), bool(row[1])


def _has_chain(session: Session) -> bool:
    has_events, has_chain = _look(session)
    if has_events and not has_chain:
        raise DatabaseInvalid("Its tables of k9ops are older than this version: run `k9ops db upgrade` on it first.")
    return has_chain


def _json(value: Mapping[str, Any] | None) -> Jsonb | None:
    return None if value is None else Jsonb(dict(value))
