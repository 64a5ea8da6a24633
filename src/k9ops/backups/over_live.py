"""Putting a backup in the place of the live database, which is kept under another name."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy import create_engine

from k9ops.backups.archives import check_digest, check_key
from k9ops.backups.catalogue import Backup
from k9ops.backups.connections import DatabaseTarget, Session, open_session, target_of
from k9ops.backups.create import create_backup
from k9ops.backups.databases import copy_properties, database_exists
from k9ops.backups.keys import PrivateKeys, find_keys_of
from k9ops.backups.restore import RestoreReport, open_maintenance_session, restored_beside
from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.errors import DatabaseInvalid, DatabaseUnavailable
from k9ops.outcome import Execution

_NAME_BYTES = 63
_RENAME_ATTEMPTS = 3
_TERMINATE_EVERY_S = 0.05
_CANCEL_RUNS = """
    UPDATE k9ops.run SET state = 'cancelled', lease_owner = NULL, lease_expires_at = NULL, finished_at = now(),
    message = 'Open at the time of the backup that was restored.'
    WHERE state IN ('queued', 'running', 'retrying')
"""

log = get_logger("k9ops.backups")


@dataclass(frozen=True)
class OverLiveReport:
    """What took the place of what.

    Attributes:
        restore: The restore; its `database` is the live one.
        safety_backup_id: Backup of the database as it was before.
        previous_database: Name under which that database is kept.
        cancelled_runs: Runs that were open in the backup and must not start again.
        properties_not_copied: Settings of the database that could not be carried over.
        undo: What a person types to get the previous database back, once nobody is connected.
    """

    restore: RestoreReport
    safety_backup_id: str
    previous_database: str
    cancelled_runs: int
    properties_not_copied: tuple[str, ...]
    undo: str


def restore_over_live(
    settings: Settings,
    backup: Backup,
    *,
    execution: Execution,
    safety_backup_id: str,
    keys: PrivateKeys | None = None,
) -> OverLiveReport:
    """Replace the live database by a backup, with a safety backup first; the live one is kept, renamed.

    Sessions are ended only for the two renames, which happen in one transaction: the live name always leads to
    a whole database. Owner, privileges, settings and connection limit of the live database are carried over.

    Args:
        settings: Server, folder, client, limits.
        backup: From `load_backup`.
        execution: Asked whether to stop, until the renames; told the bytes.
        safety_backup_id: From `make_backup_id`.
        keys: Open an encrypted backup; None takes those of `K9OPS_BACKUP_IDENTITY_FILE`.

    Raises:
        K9opsError: As `create_backup` and `restore_backup`; the live database is as it was.
    """
    target = target_of(settings.sqlalchemy_url, settings)
    live = target.database
    with open_maintenance_session(settings) as session:
        if not database_exists(session, live):
            raise DatabaseInvalid(f"There is no database {live}; restore into a new one of this name.")
        keys = find_keys_of(settings, backup.manifest, keys)
        check_digest(backup, execution=execution)
        check_key(backup, keys)
        # The uploads stay as they are; to store them again would only keep a person waiting.
        without_uploads = settings.model_copy(update={"uploads_dir": None})
        safety = create_backup(
            without_uploads, create_engine(settings.sqlalchemy_url), backup_id=safety_backup_id, execution=execution
        )
        check_digest(safety, execution=execution)
        with restored_beside(settings, backup, session, execution=execution, keys=keys) as (name, restored):
            cancelled_runs = _cancel_open_runs(target.with_database(name))
            not_copied = copy_properties(session, live, name)
            execution.check_stop()
            moment = datetime.now(UTC)
            previous = aside_name(live, "before", moment)
            _swap(session, target, live=live, new=name, previous=previous)
    log.info("backup.restored", backup_id=backup.backup_id, database=live, previous_database=previous)
    return OverLiveReport(
        restore=RestoreReport(**{**vars(restored), "database": live}),
        safety_backup_id=safety.backup_id,
        previous_database=previous,
        cancelled_runs=cancelled_runs,
        properties_not_copied=not_copied,
        undo=_undo(live, previous, aside_name(live, "restored", moment)),
    )


def aside_name(database: str, word: str, moment: datetime) -> str:
    """Return `DATABASE_WORD_TIMESTAMP`, cut so that PostgreSQL takes it whole."""
    suffix = f"_{word}_{moment:%Y%m%dT%H%M%SZ}"
    return database.encode()[: _NAME_BYTES - len(suffix)].decode(errors="ignore") + suffix


def _undo(live: str, previous: str, aside: str) -> str:
    renames = [
        SQL("ALTER DATABASE {} RENAME TO {};").format(Identifier(old), Identifier(new)).as_string()
        for old, new in ((live, aside), (previous, live))
    ]
    return " ".join(renames)


def _cancel_open_runs(target: DatabaseTarget) -> int:
    with open_session(target) as session:
        found = session.execute("SELECT to_regclass('k9ops.run') IS NOT NULL").fetchone()
        return session.execute(_CANCEL_RUNS).rowcount if found and found[0] else 0


def _swap(session: Session, target: DatabaseTarget, *, live: str, new: str, previous: str) -> None:
    """Rename both in one transaction, while a second session ends whoever is connected.

    A rename locks the name against new sessions and waits 5 s for the old ones to go.
    """
    for attempt in range(1, _RENAME_ATTEMPTS + 1):
        try:
            with _Terminator(target.with_database(session.info.dbname), live), session.transaction():
                for old, name in ((live, previous), (new, live)):
                    session.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(Identifier(old), Identifier(name)))
            return
        except psycopg.errors.ObjectInUse as exc:
            if attempt == _RENAME_ATTEMPTS:
                raise DatabaseUnavailable(
                    f"Sessions in {live} could not be ended; it is as it was.", reason=str(exc)
                ) from exc


class _Terminator:
    """Ends the sessions of a database again and again, in a thread and session of its own."""

    def __init__(self, target: DatabaseTarget, database: str) -> None:
        self._target = target
        self._database = database
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with open_session(self._target) as session:
                while not self._done.wait(_TERMINATE_EVERY_S):
                    session.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [self._database]
                    )
        except (DatabaseInvalid, DatabaseUnavailable) as exc:
            log.warning("sessions.not_ended", database=self._database, reason=exc.user_message)
