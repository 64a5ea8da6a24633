"""Restoring a backup beside the live database: whole, compared and only then under its name."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from k9ops.backups.archives import check_digest, check_key
from k9ops.backups.audit import begin_chain, record_event
from k9ops.backups.catalogue import Backup
from k9ops.backups.connections import (
    DatabaseTarget,
    Session,
    fetch_stoppably,
    open_session,
    target_of,
)
from k9ops.backups.contents import choose_tables
from k9ops.backups.databases import NAME_BYTES, database_exists
from k9ops.backups.keys import PrivateKeys, find_keys_of
from k9ops.backups.restoring import compare_rows, describe_differences, restore_archive
from k9ops.backups.scratch import drop_stale_scratch_databases, scratch_database
from k9ops.backups.sides import Mark, mark_statement
from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.errors import DatabaseInvalid, DatabaseUnavailable, VerificationFailed
from k9ops.outcome import Execution

_MAINTENANCE_DATABASES = ("postgres", "template1")

_ROLES_PRESENT = """
    SELECT coalesce((SELECT array_agg(name) FROM unnest(%(all)s::text[]) AS name
                     WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)), '{}'),
           current_setting('is_superuser') = 'on',
           coalesce((SELECT bool_and(pg_has_role(current_user, oid, 'MEMBER')) FROM pg_roles
                     WHERE rolname = ANY (%(owners)s)), true)
"""

log = get_logger("k9ops.backups")


@dataclass(frozen=True)
class RestoreReport:
    """What was restored.

    Attributes:
        backup_id: From which backup.
        database: Where it is now.
        tables: The only tables whose rows were restored; None is all.
        kept_until: From when on it is dropped, aware UTC; None keeps it until a person drops it.
        tables_compared: Number of tables, all as in the manifest, or empty where their rows were not wanted.
        rows_compared: Number of rows.
        keeps_owners: Whether owners and privileges are those of the backup; else all belongs to the role in use.
        owners_note: Why not, for a person; None when they are kept.
        duration_s: Seconds it took.
    """

    backup_id: str
    database: str
    tables: tuple[str, ...] | None
    kept_until: datetime | None
    tables_compared: int
    rows_compared: int
    keeps_owners: bool
    owners_note: str | None
    duration_s: float


def restore_backup(
    settings: Settings,
    backup: Backup,
    *,
    database: str,
    execution: Execution,
    keys: PrivateKeys | None = None,
    tables: Collection[str] | None = None,
    keep_days: int | None = None,
    actor: str = "k9ops",
    origin: str | None = None,
    reason: str | None = None,
) -> RestoreReport:
    """Restore a backup into a new database of the live server.

    It is restored under a scratch name, and gets its own, together with its mark, when every table is compared:
    whatever happens, no half database has the name asked for. Owners and privileges are kept if all the roles exist
    and the role in use may give objects to them; otherwise everything belongs to that role.

    Args:
        settings: Server, client, limits.
        backup: From `load_backup`.
        database: Name of the new database.
        execution: Asked whether to stop; told the objects restored.
        keys: Open an encrypted backup; None takes those of `K9OPS_BACKUP_IDENTITY_FILE`.
        tables: The only tables whose rows are wanted, as a person names them; None is all.
        keep_days: After so many days it is dropped by retention; None keeps it until a person drops it.
        actor: Who asks for it.
        origin: From where, for the audit.
        reason: Why, for the audit.

    Raises:
        KeyUnsuitable: The backup is encrypted, and no key opens it; no database was made.
        ParamsInvalid: The backup has no such table.
        DatabaseInvalid: The name is taken or too long, or the role may not create databases.
        BackupDamaged: The archive is not what was written.
        VerificationFailed: The restored rows are not those of the manifest.
        ClientUnsuitable: No pg_restore here suits.
        ClientFailed: pg_restore failed for another reason.
        DatabaseUnavailable: The server does not answer.
    """
    check_name(database)
    labels = None if tables is None else choose_tables(tables, backup.manifest.tables)
    live = target_of(settings.sqlalchemy_url, settings)
    taken = DatabaseInvalid(f"A database {database} exists already; choose another name.")
    with open_maintenance_session(settings) as session:
        if database_exists(session, database):
            raise taken
        log.info("restore.started", backup_id=backup.backup_id, database=database)
        what = {"backup_id": backup.backup_id, "database": database}
        record_event(live, actor=actor, action="start_restore", origin=origin, reason=reason, after=what)
        with restored_beside(settings, backup, session, tables=labels, execution=execution, keys=keys) as (
            name,
            report,
        ):
            now = datetime.now(UTC)
            mark = Mark(
                kind="restored",
                database=database,
                live=live.database,
                since=now,
                data_of=backup.created_at,
                until=None if keep_days is None else now + timedelta(days=keep_days),
                backup_id=backup.backup_id,
                tables=labels,
            )
            if database == live.database:
                begin_chain(live.with_database(name), actor=actor, backup_id=backup.backup_id)
            try:
                publish(session, name, mark)
            except psycopg.errors.DuplicateDatabase as exc:
                raise taken from exc
    done = RestoreReport(**{**vars(report), "database": database, "kept_until": mark.until})
    log.info("backup.restored", backup_id=backup.backup_id, database=database, duration_s=done.duration_s)
    return done


def publish(session: Session, name: str, mark: Mark) -> None:
    """Give a scratch database the name of its mark, and the mark: both or nothing."""
    with session.transaction():
        session.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(Identifier(name), Identifier(mark.database)))
        if mark.database != mark.live:
            session.execute(mark_statement(mark))


def check_name(database: str) -> None:
    """Raise `DatabaseInvalid` for a name that PostgreSQL would cut short."""
    if not database or len(database.encode()) > NAME_BYTES:
        raise DatabaseInvalid(f"The name of a database has 1 to {NAME_BYTES} bytes.")


@contextlib.contextmanager
def open_maintenance_session(settings: Settings) -> Iterator[Session]:
    """Connect to the live server without the live database, which may be missing or about to be renamed.

    Raises:
        DatabaseUnavailable: Neither `postgres` nor `template1` can be reached.
    """
    target = target_of(settings.sqlalchemy_url, settings)
    with contextlib.ExitStack() as stack:
        for name in _MAINTENANCE_DATABASES:
            try:
                session = stack.enter_context(open_session(target.with_database(name)))
                break
            except DatabaseUnavailable:
                if name == _MAINTENANCE_DATABASES[-1]:
                    raise
        yield session


@contextlib.contextmanager
def restored_beside(
    settings: Settings,
    backup: Backup,
    session: Session,
    *,
    tables: tuple[str, ...] | None,
    execution: Execution,
    keys: PrivateKeys | None,
) -> Iterator[tuple[str, RestoreReport]]:
    """Restore and compare under a scratch name; the database goes at the end of the block unless it was renamed."""
    started = time.monotonic()
    keys = find_keys_of(settings, backup.manifest, keys)
    check_digest(backup, execution=execution)
    check_key(backup, keys)
    drop_stale_scratch_databases(session)
    owners_note = _find_owners_note(session, backup)
    with scratch_database(session, backup.manifest.shape) as name:
        target = target_of(settings.sqlalchemy_url, settings).with_database(name)
        options = ("--no-owner", "--no-privileges") if owners_note else ()
        restore_archive(
            settings, backup, target, session, options=options, execution=execution, keys=keys, tables=tables
        )
        expected = {
            label: rows if tables is None or label in tables else 0 for label, rows in backup.manifest.tables.items()
        }
        rows, differences = compare_rows(target, expected, execution=execution)
        if differences:
            raise VerificationFailed(describe_differences(differences), backup_id=backup.backup_id)
        _analyze(target, execution)
        yield (
            name,
            RestoreReport(
                backup_id=backup.backup_id,
                database=name,
                tables=tables,
                kept_until=None,
                tables_compared=len(backup.manifest.tables),
                rows_compared=rows,
                keeps_owners=owners_note is None,
                owners_note=owners_note,
                duration_s=round(time.monotonic() - started, 3),
            ),
        )


def _find_owners_note(session: Session, backup: Backup) -> str | None:
    manifest = backup.manifest
    names = {"all": [*manifest.owners, *manifest.grantees], "owners": list(manifest.owners)}
    row: Any = session.execute(_ROLES_PRESENT, names).fetchone()
    missing, is_superuser, may_give = row
    if missing:
        return (
            f"Owners and privileges are not restored: the server has no role {', '.join(sorted(missing))}."
            " Create it and restore again to keep them."
        )
    if not (is_superuser or may_give):
        return "Owners and privileges are not restored: this needs a superuser, or a member of all owning roles."
    return None


def _analyze(target: DatabaseTarget, execution: Execution) -> None:
    """Archives hold no planner statistics; without them the first queries would be slow."""
    with open_session(target) as session:
        fetch_stoppably(session, "ANALYZE", execution=execution)
