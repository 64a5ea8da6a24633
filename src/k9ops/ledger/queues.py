"""Queues that a person has paused: their runs wait in the ledger, and no worker begins one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, text

from k9ops.db.audit import AuditEvent, append_event
from k9ops.db.engine import database_errors
from k9ops.db.storable import make_storable

_PAUSE = text("""
    INSERT INTO k9ops.queue_pause (queue, paused_by, reason) VALUES (:queue, :paused_by, :reason)
    ON CONFLICT DO NOTHING RETURNING queue
""")
_RESUME = text("""
    DELETE FROM k9ops.queue_pause WHERE queue = :queue RETURNING paused_at, paused_by, reason
""")
_LIST = text("SELECT queue, paused_at, paused_by, reason FROM k9ops.queue_pause ORDER BY queue")


@dataclass(frozen=True)
class QueuePause:
    """Why no run of a queue begins.

    Attributes:
        queue: Its name.
        paused_at: Since when, aware UTC.
        paused_by: By whom.
        reason: In that person's words; None when they did not say.
    """

    queue: str
    paused_at: datetime
    paused_by: str
    reason: str | None


def pause_queue(engine: Engine, queue: str, *, paused_by: str, origin: str | None, reason: str | None) -> bool:
    """Let no worker begin another run of a queue; what runs goes on. False when it was paused already.

    Args:
        engine: The ledger's database.
        queue: Its name.
        paused_by: Who asks for it.
        origin: From where, for the audit.
        reason: Why, for the audit and for those who find it paused.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    values = {"queue": queue, "paused_by": make_storable(paused_by), "reason": make_storable(reason)}
    event = AuditEvent(
        actor=paused_by, origin=origin, action="pause", target_type="queue", target_id=queue, reason=reason
    )
    with database_errors(), engine.begin() as connection:
        is_changed = connection.execute(_PAUSE, values).first() is not None
        if is_changed:
            append_event(connection, event)
    return is_changed


def resume_queue(engine: Engine, queue: str, *, resumed_by: str, origin: str | None, reason: str | None) -> bool:
    """Let the runs of a queue begin again; the relay sends those that wait. False when it was not paused.

    Args:
        engine: The ledger's database.
        queue: Its name.
        resumed_by: Who asks for it.
        origin: From where, for the audit.
        reason: Why, for the audit.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    with database_errors(), engine.begin() as connection:
        pause = connection.execute(_RESUME, {"queue": queue}).one_or_none()
        if pause is None:
            return False
        before = {"paused_at": pause.paused_at.isoformat(), "paused_by": pause.paused_by, "reason": pause.reason}
        event = AuditEvent(
            actor=resumed_by,
            origin=origin,
            action="resume",
            target_type="queue",
            target_id=queue,
            reason=reason,
            before=before,
        )
        append_event(connection, event)
    return True


def read_pauses(engine: Engine) -> dict[str, QueuePause]:
    """Return the queues that are paused, by name."""
    with database_errors(), engine.begin() as connection:
        return {row.queue: QueuePause(*row) for row in connection.execute(_LIST)}
