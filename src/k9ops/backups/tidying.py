"""Keeping order among the databases beside the live one: what is over, or was left by the dead, goes."""

from __future__ import annotations

from dataclasses import dataclass

from k9ops.backups.audit import record_event
from k9ops.backups.connections import DatabaseTarget, Session, target_of
from k9ops.backups.restore import open_maintenance_session
from k9ops.backups.scratch import drop_stale_scratch_databases
from k9ops.backups.settling import settle_swaps, swap_lock
from k9ops.backups.sides import Side, drop_side, find_side, list_sides
from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.errors import DatabaseInvalid

log = get_logger("k9ops.backups")


@dataclass(frozen=True)
class TidyReport:
    """What went and what stays.

    Attributes:
        dropped: Names of the databases whose time was over.
        kept: Names of those that could not be dropped, with the reason.
    """

    dropped: tuple[str, ...]
    kept: tuple[tuple[str, str], ...]


def tidy_databases(settings: Settings, *, actor: str, dry_run: bool = False) -> TidyReport:
    """Drop the undo and restored databases whose time is over; a database without k9ops' mark is never touched.

    What a swap that was killed has left to do is done first, and scratch databases of dead restores go.

    Args:
        settings: Server.
        actor: Who asks for it.
        dry_run: Only say what would go.

    Raises:
        DatabaseUnavailable: The server does not answer.
        TransientError: A swap is under way.
    """
    target = target_of(settings.sqlalchemy_url, settings)
    dropped, kept = [], []
    with open_maintenance_session(settings) as session, swap_lock(session, target.database):
        if not dry_run:
            settle_swaps(session, target)
            drop_stale_scratch_databases(session)
        for side in list_sides(session, target.database):
            if not side.is_expired:
                continue
            try:
                if not dry_run:
                    _drop(session, target, side, actor=actor)
                dropped.append(side.database)
            except DatabaseInvalid as exc:
                log.warning("undo.kept", database=side.database, reason=exc.user_message)
                kept.append((side.database, exc.user_message))
    return TidyReport(tuple(dropped), tuple(kept))


def drop_database_beside(
    settings: Settings, database: str, *, actor: str, origin: str | None = None, reason: str | None = None
) -> Side:
    """Drop a database that k9ops keeps beside the live one, before its time.

    Args:
        settings: Server.
        database: Its name.
        actor: Who asks for it.
        origin: From where, for the audit.
        reason: Why, for the audit.

    Raises:
        DatabaseInvalid: It is none of those, or somebody is connected to it.
        DatabaseUnavailable: The server does not answer.
        TransientError: A swap is under way.
    """
    target = target_of(settings.sqlalchemy_url, settings)
    with open_maintenance_session(settings) as session, swap_lock(session, target.database):
        settle_swaps(session, target)
        side = find_side(session, target.database, database)
        _drop(session, target, side, actor=actor, origin=origin, reason=reason)
        return side


def _drop(
    session: Session,
    target: DatabaseTarget,
    side: Side,
    *,
    actor: str,
    origin: str | None = None,
    reason: str | None = None,
) -> None:
    if side.mark.swap is not None and not side.mark.swap.is_settled:
        raise DatabaseInvalid("Its audit entries could not be carried over yet; it stays.")
    drop_side(session, side)
    until = side.mark.until.isoformat() if side.mark.until else None
    what = {"database": side.database, "backup_id": side.mark.backup_id, "until": until}
    is_undo = side.mark.kind == "undo"
    if is_undo:
        log.info("undo.dropped", **what)
    else:
        log.info("restored_database.dropped", **what)
    action = "drop_undo" if is_undo else "drop_restored"
    record_event(target, actor=actor, action=action, origin=origin, reason=reason, before=what)
