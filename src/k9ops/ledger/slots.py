"""Which slots of each schedule have been decided: the memory that makes a scheduler's restart harmless."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import Connection, Engine, RowMapping, text

from k9ops.db.audit import AuditEvent, append_event
from k9ops.db.engine import database_errors


@dataclass(frozen=True)
class ScheduleState:
    """How far a schedule is; the columns of `k9ops.schedule`, times aware UTC.

    Attributes:
        name: Name of the schedule.
        dispatched_until: Every slot up to this moment has been decided.
        last_slot: The newest slot that became a run.
        missed: Slots that were decided against, ever.
        last_missed_slot: The newest of them.
        paused_at: Since when it is paused; None while it is not.
        paused_by: By whom.
    """

    name: str
    dispatched_until: datetime
    last_slot: datetime | None
    missed: int
    last_missed_slot: datetime | None
    paused_at: datetime | None
    paused_by: str | None


_COLUMNS = ", ".join(item.name for item in fields(ScheduleState))

_BEGIN = text("""
    INSERT INTO k9ops.schedule (name, dispatched_until) VALUES (:name, :since) ON CONFLICT DO NOTHING
""")

_LOCK = text(f"SELECT {_COLUMNS} FROM k9ops.schedule WHERE name = :name FOR UPDATE")

_ADVANCE = text("""
    UPDATE k9ops.schedule SET
        dispatched_until = :until, last_slot = coalesce(:last_slot, last_slot), missed = missed + :missed,
        last_missed_slot = coalesce(:last_missed_slot, last_missed_slot)
    WHERE name = :name
""")

_PAUSE = text(f"""
    UPDATE k9ops.schedule SET paused_at = now(), paused_by = :paused_by
    WHERE name = :name AND paused_at IS NULL RETURNING {_COLUMNS}
""")

_RESUME = text(f"""
    UPDATE k9ops.schedule SET paused_at = NULL, paused_by = NULL, dispatched_until = greatest(dispatched_until, now())
    WHERE name = :name AND paused_at IS NOT NULL RETURNING {_COLUMNS}
""")


def read_clock(engine: Engine) -> datetime:
    """Return PostgreSQL's time, which all schedulers share."""
    with database_errors(), engine.begin() as connection:
        return read_clock_in(connection)


def read_clock_in(connection: Connection) -> datetime:
    """Return PostgreSQL's time as it is now, however long ago the transaction began."""
    now: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return now


def lock_schedule_state(connection: Connection, name: str, *, since: datetime) -> ScheduleState:
    """Hold a schedule's row until the end of the transaction, so that one scheduler decides at a time.

    Args:
        connection: In a transaction.
        name: The schedule.
        since: Where a schedule begins that was never seen before; its slots after that are due.
    """
    connection.execute(_BEGIN, {"name": name, "since": since})
    return _state_from_row(connection.execute(_LOCK, {"name": name}).mappings().one())


def advance_schedule(
    connection: Connection,
    name: str,
    *,
    until: datetime,
    last_slot: datetime | None = None,
    missed: Sequence[datetime] = (),
) -> None:
    """Record that every slot up to a moment is decided.

    Args:
        connection: The transaction that records the slots' runs too.
        name: The schedule.
        until: The moment.
        last_slot: The newest slot that became a run.
        missed: Slots that became none, oldest first.
    """
    values = {
        "name": name,
        "until": until,
        "last_slot": last_slot,
        "missed": len(missed),
        "last_missed_slot": missed[-1] if missed else None,
    }
    connection.execute(_ADVANCE, values)


def read_schedule_states(engine: Engine) -> dict[str, ScheduleState]:
    """Return the state of every schedule that a scheduler has seen, by name."""
    with database_errors(), engine.begin() as connection:
        rows = connection.execute(text(f"SELECT {_COLUMNS} FROM k9ops.schedule ORDER BY name")).mappings()
        return {row["name"]: _state_from_row(row) for row in rows}


def pause_schedule(
    engine: Engine, name: str, *, paused_by: str, origin: str | None = None, reason: str | None = None
) -> bool:
    """Stop a schedule's slots from becoming runs. False when it was paused already.

    Args:
        engine: The database.
        name: The schedule.
        paused_by: Who asks for it.
        origin: From where, for the audit.
        reason: Why, for the audit.
    """
    event = AuditEvent(
        actor=paused_by, origin=origin, action="pause", target_type="schedule", target_id=name, reason=reason
    )
    with database_errors(), engine.begin() as connection:
        connection.execute(_BEGIN, {"name": name, "since": connection.execute(text("SELECT now()")).scalar_one()})
        is_changed = connection.execute(_PAUSE, {"name": name, "paused_by": paused_by}).first() is not None
        if is_changed:
            append_event(connection, event)
        return is_changed


def resume_schedule(
    engine: Engine, name: str, *, resumed_by: str, origin: str | None = None, reason: str | None = None
) -> bool:
    """Let a schedule go on with its next slot. False when it was not paused.

    Args:
        engine: The database.
        name: The schedule.
        resumed_by: Who asks for it.
        origin: From where, for the audit.
        reason: Why, for the audit.
    """
    event = AuditEvent(
        actor=resumed_by, origin=origin, action="resume", target_type="schedule", target_id=name, reason=reason
    )
    with database_errors(), engine.begin() as connection:
        is_changed = connection.execute(_RESUME, {"name": name}).first() is not None
        if is_changed:
            append_event(connection, event)
        return is_changed


def _state_from_row(row: RowMapping) -> ScheduleState:
    return ScheduleState(**{item.name: row[item.name] for item in fields(ScheduleState)})
