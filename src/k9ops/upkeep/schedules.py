"""Locking the schedules of past days, each with an audit entry, in one statement."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import Connection, Engine, text

from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.db.application import ApplicationSchema, inspect_application
from k9ops.db.audit import name_origin
from k9ops.db.engine import database_errors
from k9ops.errors import PermanentError
from k9ops.outcome import Execution, Outcome, skipped
from k9ops.slot import parse_slot

_LOG = get_logger("k9ops.upkeep")
_LISTED = 100

_OPEN = text("""
    SELECT id, date, project_id FROM public.daily_schedule WHERE status = 'OPEN' AND date < :day ORDER BY date, id
""")

# The schedules first: their count is asked for before the audit, whose first entry makes other writers wait.
_LOCK = """
    WITH locked AS (
        UPDATE public.daily_schedule SET status = 'LOCKED', updated_at = now() AT TIME ZONE 'UTC' {locked_at}
        WHERE status = 'OPEN' AND date < :day
        RETURNING id, date),
    audited AS (
        INSERT INTO k9ops.audit_event (actor, origin, action, target_type, target_id, before, after, run_id)
        SELECT 'lock_schedules', :origin, 'lock', 'daily_schedule', id::text,
               '{{"status": "OPEN"}}', jsonb_build_object('status', 'LOCKED', 'date', date), :run_id
        FROM locked RETURNING 1)
    {told}
    SELECT (SELECT count(*) FROM locked) AS locked, (SELECT count(*) FROM audited) AS audited,
           (SELECT min(date) FROM locked) AS first_on, (SELECT max(date) FROM locked) AS last_on
"""

_TELL = """,
    told AS (
        INSERT INTO public.audit_log (id, user_id, action, target_type, target_id, target_name, description,
                                      old_values, new_values, created_at)
        SELECT gen_random_uuid(), :user_id, 'UPDATE', 'DailySchedule', id, date::text, 'Locked automatically.',
               '{{"status": "OPEN"}}', '{{"status": "LOCKED"}}', now() AT TIME ZONE 'UTC'
        FROM locked)
"""


def lock_schedules(
    settings: Settings, engine: Engine, *, execution: Execution, slot: str | None, dry_run: bool = False
) -> Outcome:
    """Lock every open schedule that is dated before the slot's day in the unit's time zone.

    The update and the audit entries are one statement: all of it happens, or nothing.

    Args:
        settings: Time zone; the application's user whose name stands in its own audit log.
        engine: The application's database, with k9ops' tables.
        execution: Its run stands in the audit entries.
        slot: Due moment, ISO 8601 with offset; None takes the moment at which the run was asked for.
        dry_run: Only list.

    Returns:
        `succeeded` with the count and the span of dates, or `skipped` when none was open.

    Raises:
        DatabaseInvalid: The application's table is missing.
        PermanentError: `K9OPS_AUDIT_USERNAME` names no user.
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    moment = parse_slot(slot) or execution.requested_at
    day = moment.astimezone(settings.zone).date()
    with database_errors(), engine.begin() as connection:
        schema = inspect_application(connection)
        schema.require("daily_schedule", "id", "date", "status", "updated_at")
        if dry_run:
            return _list_open(connection, day)
        values = {"day": day, "run_id": execution.run_id, "origin": name_origin("job")}
        user_id = _find_audit_user(connection, schema, settings.audit_username)
        statement = _LOCK.format(
            locked_at=", locked_at = now() AT TIME ZONE 'UTC'" if schema.has("daily_schedule", "locked_at") else "",
            told=_TELL.format() if user_id else "",
        )
        row = connection.execute(text(statement), values | ({"user_id": user_id} if user_id else {})).one()
    if row.locked == 0:
        return skipped(f"No schedule before {day} was open.", locked=0, before=str(day))
    evidence = {
        "locked": row.locked,
        "audited": row.audited,
        "before": str(day),
        "first_on": str(row.first_on),
        "last_on": str(row.last_on),
    }
    _LOG.info("schedules.locked", **evidence)
    return Outcome("succeeded", f"{row.locked} schedules from {row.first_on} to {row.last_on} are locked.", evidence)


def _list_open(connection: Connection, day: date) -> Outcome:
    rows = connection.execute(_OPEN, {"day": day}).all()
    listed = [{"id": str(row.id), "date": str(row.date), "project_id": str(row.project_id)} for row in rows[:_LISTED]]
    return skipped(f"{len(rows)} schedules before {day} would be locked.", open=len(rows), schedules=listed)


def _find_audit_user(connection: Connection, schema: ApplicationSchema, username: str) -> Any:
    if not username:
        return None
    schema.require("audit_log", "user_id", "action")
    found = connection.scalar(text('SELECT id FROM public."user" WHERE username = :name'), {"name": username})
    if found is None:
        raise PermanentError(f"K9OPS_AUDIT_USERNAME = {username!r}: the application has no such user.")
    return found
