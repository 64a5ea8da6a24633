"""Putting one database in the place of the live one, which is kept as the undo; and putting it back."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy import create_engine

from k9ops.backups.archives import check_digest
from k9ops.backups.audit import begin_chain, carry_events
from k9ops.backups.connections import DatabaseTarget, Session, target_of
from k9ops.backups.create import create_backup
from k9ops.backups.databases import copy_properties, cut_name, database_exists
from k9ops.backups.ledger_tables import cancel_open_runs, upgrade_tables
from k9ops.backups.restore import open_maintenance_session
from k9ops.backups.retention import note_arrivals
from k9ops.backups.sessions import SessionEnder, check_endable
from k9ops.backups.settling import settle_swaps, swap_lock
from k9ops.backups.sides import (
    Mark,
    Side,
    SwapAction,
    SwapRecord,
    comment_statement,
    find_side,
    find_undos,
    mark_statement,
    read_comment,
)
from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.errors import DatabaseInvalid, DatabaseUnavailable
from k9ops.outcome import Execution

_ATTEMPTS = 2
_ASIDE_WORDS: dict[SwapAction, str] = {"swap": "before", "undo": "undone"}
# No transaction that wrote an audit entry lasted longer than this before the data of the backup were fixed.
_LONGEST_TRANSACTION = timedelta(days=1)

log = get_logger("k9ops.backups")


@dataclass(frozen=True)
class SwapReport:
    """What took the place of what.

    Attributes:
        action: `swap` or `undo`.
        database: The live database's name.
        placed: Name that the new live database had before.
        backup_id: What it was restored from, if known.
        former_database: Name under which the database of before is kept.
        kept_until: Until when at least, aware UTC.
        safety_backup_id: Backup of the database of before, made just before; None without one.
        cancelled_runs: Runs that were open in the backup and must not start again.
        notes: What a person should know, e.g. settings that could not be carried over.
        swap_s: Seconds from the first rename to the commit of both: as long as nobody could connect.
    """

    action: SwapAction
    database: str
    placed: str
    backup_id: str | None
    former_database: str
    kept_until: datetime | None
    safety_backup_id: str | None
    cancelled_runs: int
    notes: tuple[str, ...]
    swap_s: float


def swap_database(
    settings: Settings,
    *,
    database: str,
    actor: str,
    execution: Execution,
    safety_backup_id: str | None,
    origin: str | None = None,
    reason: str | None = None,
) -> SwapReport:
    """Put a restored database in the place of the live one, with a safety backup first; the live one is the undo.

    Sessions are ended only for the two renames, which happen in one transaction together with the marks: the live
    name always leads to a whole database. Owner, privileges, settings and connection limit of the live database are
    carried over, and so are its audit entries.

    Args:
        settings: Server, folder, limits, days of the undo.
        database: Name of a database that `restore_backup` made.
        actor: Who asks for it.
        execution: Asked whether to stop, until the renames; told the bytes of the safety backup.
        safety_backup_id: From `make_backup_id`; None makes none, for a live database that cannot be dumped.
        origin: From where, for the audit.
        reason: Why, for the audit.

    Raises:
        DatabaseInvalid: k9ops keeps no such database, only some tables were restored into it, there is no live
            database, or somebody is connected whom the role may not end.
        K9opsError: As `create_backup`. Whatever is raised, the live database is as it was.
    """
    target = target_of(settings.sqlalchemy_url, settings)
    with open_maintenance_session(settings) as session, swap_lock(session, target.database):
        side = _find_restored(session, target.database, database)
        check_endable(session, [target.database, database])
        settle_swaps(session, target)
        if safety_backup_id is not None:
            _back_up(settings, safety_backup_id, execution)
        placed = target.with_database(database)
        cancelled_runs = cancel_open_runs(placed)
        notes = upgrade_tables(settings, placed)
        shared_until = side.mark.data_of - _LONGEST_TRANSACTION
        begin_chain(placed, actor=actor, backup_id=side.mark.backup_id)
        carry_events(target, placed, since=shared_until)
        refused = copy_properties(session, target.database, database)
        notes += tuple(f"The setting {name} of the database could not be carried over." for name in refused)
        execution.check_stop()
        record = _make_record(
            "swap", side, actor, shared_until, safety_backup_id=safety_backup_id, origin=origin, reason=reason
        )
        comment = read_comment(session, target.database)
        mark = _make_mark(settings, session, target.database, side, record, backup_id=None)
        return _exchange(session, target, mark, record, comment=comment, runs=cancelled_runs, notes=notes)


def undo_swap(
    settings: Settings, *, database: str | None, actor: str, origin: str | None = None, reason: str | None = None
) -> SwapReport:
    """Put a former database back in the place of the live one, which is kept as the undo of this.

    Args:
        settings: Server, days of the undo.
        database: Name of the former database; None takes the newest.
        actor: Who asks for it.
        origin: From where, for the audit.
        reason: Why, for the audit.

    Raises:
        DatabaseInvalid: There is nothing to undo, or no former database of this name, or somebody is connected
            whom the role may not end. Whatever is raised, the live database is as it was.
        DatabaseUnavailable: The server does not answer.
    """
    target = target_of(settings.sqlalchemy_url, settings)
    with open_maintenance_session(settings) as session, swap_lock(session, target.database):
        _require_live(session, target.database)
        side = choose_undo(session, target.database, database)
        check_endable(session, [target.database, side.database])
        settle_swaps(session, target)
        placed = target.with_database(side.database)
        notes = upgrade_tables(settings, placed)
        shared_until = side.mark.data_of - _LONGEST_TRANSACTION
        carry_events(target, placed, since=shared_until)
        record = _make_record("undo", side, actor, shared_until, origin=origin, reason=reason)
        undone = side.mark.swap.backup_id if side.mark.swap else None
        mark = _make_mark(settings, session, target.database, side, record, backup_id=undone)
        return _exchange(session, target, mark, record, comment=side.mark.comment, runs=0, notes=notes)


def choose_undo(session: Session, live: str, database: str | None) -> Side:
    """Return the former database that is to come back: the one named, or the newest.

    Raises:
        DatabaseInvalid: There is none; says which there are.
    """
    sides = find_undos(session, live)
    if not sides:
        raise DatabaseInvalid(f"There is nothing to undo: no former database of {live} is kept.")
    fitting = [side for side in sides if database in (None, side.database)]
    if not fitting:
        names = ", ".join(side.database for side in sides)
        raise DatabaseInvalid(f"No former database of {live} is called {database}; there are: {names}.")
    return fitting[0]


def aside_name(session: Session, database: str, word: str, moment: datetime) -> str:
    """Return a free `DATABASE_WORD_TIMESTAMP`, cut so that PostgreSQL takes it whole."""
    while True:
        name = cut_name(database, f"_{word}_{moment:%Y%m%dT%H%M%SZ}")
        if not database_exists(session, name):
            return name
        moment += timedelta(seconds=1)


def _find_restored(session: Session, live: str, database: str) -> Side:
    _require_live(session, live)
    side = find_side(session, live, database)
    if side.mark.kind == "undo":
        raise DatabaseInvalid(f"{database} was live before; `k9ops backup undo {database}` brings it back.")
    if side.mark.tables is not None:
        raise DatabaseInvalid(f"Only some tables were restored into {database}; it cannot be the live database.")
    return side


def _require_live(session: Session, live: str) -> None:
    if not database_exists(session, live):
        raise DatabaseInvalid(f"There is no database {live}; restore into a new one of this name: --to {live}.")


def _back_up(settings: Settings, backup_id: str, execution: Execution) -> None:
    engine = create_engine(settings.sqlalchemy_url)
    # The uploads stay as they are; to store them again would only keep a person waiting.
    without_uploads = settings.model_copy(update={"uploads_dir": None})
    try:
        backup = create_backup(without_uploads, engine, backup_id=backup_id, execution=execution)
        check_digest(backup, execution=execution)
        note_arrivals(backup.folder)
    finally:
        engine.dispose()


def _make_record(
    action: SwapAction,
    side: Side,
    actor: str,
    shared_until: datetime,
    *,
    safety_backup_id: str | None = None,
    origin: str | None,
    reason: str | None,
) -> SwapRecord:
    return SwapRecord(
        swap_id=str(uuid.uuid4()),
        action=action,
        at=datetime.now(UTC),
        actor=actor,
        placed=side.database,
        shared_until=shared_until,
        backup_id=side.mark.backup_id,
        safety_backup_id=safety_backup_id,
        origin=origin,
        reason=reason,
    )


def _make_mark(
    settings: Settings, session: Session, live: str, side: Side, record: SwapRecord, *, backup_id: str | None
) -> Mark:
    """Return the mark of the live database for the time when it is the former one."""
    return Mark(
        kind="undo",
        database=aside_name(session, live, _ASIDE_WORDS[record.action], record.at),
        live=live,
        since=record.at,
        data_of=side.mark.data_of,
        until=record.at + timedelta(days=settings.undo_days),
        backup_id=backup_id,
        swap=record,
        comment=read_comment(session, live),
    )


def _exchange(
    session: Session,
    target: DatabaseTarget,
    mark: Mark,
    record: SwapRecord,
    *,
    comment: str | None,
    runs: int,
    notes: tuple[str, ...],
) -> SwapReport:
    live = target.database
    maintenance = target.with_database(session.info.dbname)
    started = time.monotonic()
    rename_both(session, maintenance, mark, placed=record.placed, comment=comment)
    swap_s = round(time.monotonic() - started, 3)
    log.info(
        "database.swapped",
        action=record.action,
        database=live,
        placed=record.placed,
        former_database=mark.database,
        backup_id=record.backup_id,
        swap_s=swap_s,
    )
    settle_swaps(session, target)
    return SwapReport(
        action=record.action,
        database=live,
        placed=record.placed,
        backup_id=record.backup_id,
        former_database=mark.database,
        kept_until=mark.until,
        safety_backup_id=record.safety_backup_id,
        cancelled_runs=runs,
        notes=notes,
        swap_s=swap_s,
    )


def rename_both(session: Session, maintenance: DatabaseTarget, mark: Mark, *, placed: str, comment: str | None) -> None:
    """Rename both databases and mark them in one transaction, while a second session ends whoever is connected.

    A rename locks the name against new sessions and waits 5 s for the old ones to go.

    Args:
        session: To neither of the databases.
        maintenance: The database of that session.
        mark: Of the live database under its new name.
        placed: The database that gets the live name.
        comment: The comment that goes with the live name.

    Raises:
        DatabaseUnavailable: Sessions could not be ended; nothing was changed.
        DatabaseInvalid: A database is not there, or the role may not rename; nothing was changed.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with SessionEnder(session, maintenance, [mark.live, placed]), session.transaction():
                for old, new in ((mark.live, mark.database), (placed, mark.live)):
                    session.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(Identifier(old), Identifier(new)))
                session.execute(mark_statement(mark))
                session.execute(comment_statement(mark.live, comment))
            return
        except psycopg.errors.InvalidCatalogName as exc:
            raise DatabaseInvalid(f"{placed} is not there any more; {mark.live} is as it was.") from exc
        except psycopg.errors.ObjectInUse as exc:
            if attempt == _ATTEMPTS:
                raise DatabaseUnavailable(
                    f"Sessions in {mark.live} could not be ended; it is as it was.", reason=str(exc)
                ) from exc
