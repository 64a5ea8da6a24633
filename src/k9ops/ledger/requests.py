"""What people and programs ask of the ledger: record a run, look at it, retry it, cancel it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, text

from k9ops.db.audit import AuditEvent, append_event
from k9ops.db.engine import database_errors, open_autocommit
from k9ops.errors import RunNotFound, RunStateConflict
from k9ops.ledger.model import PERSONS_TRIGGERS, RUN_COLUMNS, NewRun, Run, run_from_row
from k9ops.private import hide_params

_INSERT = text("""
    INSERT INTO k9ops.run (id, job, queue, params, trigger, requested_by, parent_id, slot, due_at, expires_at,
                           sent_at, sends)
    VALUES (:id, :job, :queue, CAST(:params AS jsonb), :trigger, :requested_by, :parent_id, :slot,
            coalesce(CAST(:due_at AS timestamptz), now()), :expires_at,
            CASE WHEN :is_sent THEN now() END, CASE WHEN :is_sent THEN 1 ELSE 0 END)
    ON CONFLICT DO NOTHING
    RETURNING id
""")

# What a person's retry makes of a run; what happened before stays in `history`.
RETRY = """
    history = history || jsonb_build_object(
        'attempt', attempt, 'outcome', state, 'ended_at', finished_at, 'error_class', error_class,
        'message', message, 'retried_by', CAST(:requested_by AS text)),
    state = 'queued', attempt = 0, deaths = 0, due_at = now(), expires_at = NULL, sent_at = NULL, sends = 0,
    started_at = NULL, finished_at = NULL, cancel_requested_at = NULL, progress = NULL, message = NULL,
    evidence = NULL, error_class = NULL, traceback = NULL, acknowledged_at = NULL
"""

# A run that waits is cancelled; one that went wrong stays as it ended, and no longer counts among what is wrong.
DISCARD = """
    cancel_requested_at = CASE WHEN state IN ('queued', 'retrying') THEN now() ELSE cancel_requested_at END,
    finished_at = coalesce(finished_at, now()),
    acknowledged_at = CASE WHEN state IN ('queued', 'retrying') THEN NULL ELSE now() END,
    message = CASE WHEN state IN ('queued', 'retrying') THEN 'Cancelled by ' || :requested_by || '.' ELSE message END,
    state = CASE WHEN state IN ('queued', 'retrying') THEN 'cancelled' ELSE state END
"""

_LOCK_STATE = text("SELECT state FROM k9ops.run WHERE id = :id FOR UPDATE")
LOCK_TWINS = text("SELECT pg_advisory_xact_lock(hashtextextended(:job || CAST(CAST(:params AS jsonb) AS text), 0))")
_FIND_TWIN = text("""
    SELECT id FROM k9ops.run
    WHERE job = :job AND state IN ('queued', 'retrying', 'running') AND params = CAST(:params AS jsonb)
        AND requested_by IS NOT DISTINCT FROM CAST(:requested_by AS text) AND cancel_requested_at IS NULL
    ORDER BY created_at LIMIT 1
""")


def insert_run(connection: Connection, new: NewRun, *, is_sent: bool) -> bool:
    """Record a run on the caller's connection, with an audit entry if a person asks for it.

    Args:
        connection: In a transaction, or, when no person asks, one that commits each statement.
        new: The run.
        is_sent: True when the caller sends its message itself; False leaves that to the relay.

    Returns:
        False when a run with this id, or of this job and slot, is recorded already.
    """
    values = {
        "id": new.id,
        "job": new.job,
        "queue": new.queue,
        "params": json.dumps(dict(new.params), ensure_ascii=False),
        "trigger": new.trigger,
        "requested_by": new.requested_by,
        "parent_id": new.parent_id,
        "slot": new.slot,
        "due_at": new.due_at,
        "expires_at": new.expires_at,
        "is_sent": is_sent,
    }
    if connection.execute(_INSERT, values).first() is None:
        return False
    if new.trigger in PERSONS_TRIGGERS:
        append_event(
            connection,
            AuditEvent(
                actor=new.requested_by or "unknown",
                origin=new.origin,
                action="request",
                target_type="run",
                target_id=str(new.id),
                reason=new.reason,
                after={"job": new.job, "params": hide_params(new.params, new.private_params)},
                run_id=new.id,
            ),
        )
    return True


def record_run(engine: Engine, new: NewRun, *, is_sent: bool) -> bool:
    """Record a run in a transaction of its own; as `insert_run`.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    is_audited = new.trigger in PERSONS_TRIGGERS
    with database_errors(), engine.begin() if is_audited else open_autocommit(engine) as connection:
        return insert_run(connection, new, is_sent=is_sent)


def record_unless_open(engine: Engine, new: NewRun, *, is_sent: bool) -> uuid.UUID | None:
    """Record a run, unless one of the same job, parameters and requester waits or is executed.

    Two callers at the same moment are put in order by a lock, so that one of them finds the other's run. A slot has one
    run, also when that has ended.

    Returns:
        The id of that run, or None when `new` is recorded.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    with database_errors(), engine.begin() as connection:
        lock_twins(connection, new)
        found = find_twin(connection, new)
        if found is None and not insert_run(connection, new, is_sent=is_sent) and new.slot:
            return find_slot_run(connection, new.job, new.slot)
        return found


def lock_twins(connection: Connection, new: NewRun) -> None:
    """Keep other callers from recording a run of the same job and parameters until the transaction ends."""
    params = json.dumps(dict(new.params), ensure_ascii=False)
    connection.execute(LOCK_TWINS, {"job": new.job, "params": params})


def find_twin(connection: Connection, new: NewRun) -> uuid.UUID | None:
    """Return the id of the open run of the same job, parameters and requester, None without one."""
    params = json.dumps(dict(new.params), ensure_ascii=False)
    twin = {"job": new.job, "params": params, "requested_by": new.requested_by}
    found: uuid.UUID | None = connection.scalar(_FIND_TWIN, twin)
    return found


def get_run(engine: Engine, run_id: uuid.UUID) -> Run:
    """Return a run.

    Raises:
        RunNotFound: No run has this id.
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    with database_errors(), engine.begin() as connection:
        row = connection.execute(text(f"SELECT {RUN_COLUMNS} FROM k9ops.run WHERE id = :id"), {"id": run_id})
        found = row.mappings().first()
    if found is None:
        raise RunNotFound(f"There is no run {run_id}.")
    return run_from_row(found)


def find_run(engine: Engine, prefix: str) -> Run:
    """Return the run whose id starts with a text that a person typed.

    Raises:
        RunNotFound: None or more than one does.
    """
    wanted = prefix.strip().lower()
    if not wanted or set(wanted) - set("0123456789abcdef-"):
        raise RunNotFound(f"{prefix!r} is not the id of a run.")
    statement = text(f"SELECT {RUN_COLUMNS} FROM k9ops.run WHERE id::text LIKE :prefix LIMIT 2")
    with database_errors(), engine.begin() as connection:
        rows = connection.execute(statement, {"prefix": f"{wanted}%"}).mappings().all()
    if len(rows) != 1:
        problem = "There is no run" if not rows else "There is more than one run"
        raise RunNotFound(f"{problem} whose id starts with {wanted}.")
    return run_from_row(rows[0])


def find_recorded_id(engine: Engine, new: NewRun) -> uuid.UUID:
    """Return the id of the run that kept `new` from being recorded: the one of its job and slot, or itself."""
    statement = text("SELECT id FROM k9ops.run WHERE id = :id OR (job = :job AND slot = :slot)")
    with database_errors(), engine.begin() as connection:
        found: uuid.UUID | None = connection.scalar(statement, {"id": new.id, "job": new.job, "slot": new.slot})
    return found or new.id


def find_slot_run(connection: Connection, job: str, slot: datetime) -> uuid.UUID:
    """Return the id of the run that a job has for a slot."""
    statement = text("SELECT id FROM k9ops.run WHERE job = :job AND slot = :slot")
    found: uuid.UUID = connection.execute(statement, {"job": job, "slot": slot}).scalar_one()
    return found


def find_recorded(connection: Connection, run_ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Return those ids that runs have."""
    if not run_ids:
        return set()
    statement = text("SELECT id FROM k9ops.run WHERE id = ANY(:ids)")
    return set(connection.scalars(statement, {"ids": list(run_ids)}))


def find_slots_without_run(connection: Connection, job: str, slots: Sequence[datetime]) -> tuple[datetime, ...]:
    """Return those slots, aware, for which a job has no run."""
    if not slots:
        return ()
    statement = text("SELECT slot FROM k9ops.run WHERE job = :job AND slot = ANY(:slots)")
    taken = set(connection.scalars(statement, {"job": job, "slots": list(slots)}))
    return tuple(slot for slot in slots if slot not in taken)


def list_runs(
    engine: Engine,
    *,
    job: str | None = None,
    states: Sequence[str] = (),
    trigger: str | None = None,
    parent_id: uuid.UUID | None = None,
    since: datetime | None = None,
    also_acknowledged: bool = True,
    limit: int = 50,
) -> list[Run]:
    """Return runs, newest first.

    Args:
        engine: The database.
        job: Only of this job.
        states: Only in one of these states; empty means any.
        trigger: Only asked for in this way.
        parent_id: Only runs that this one started.
        since: Only created at or after this moment, aware.
        also_acknowledged: Also those that a person has looked after.
        limit: At most this many.
    """
    conditions, values = ["true" if also_acknowledged else "acknowledged_at IS NULL"], {"limit": limit}  # type: tuple[list[str], dict[str, Any]]
    for condition, name, value in (
        ("job = :job", "job", job),
        ("state = ANY(:states)", "states", list(states) or None),
        ("trigger = :trigger", "trigger", trigger),
        ("parent_id = :parent_id", "parent_id", parent_id),
        ("created_at >= :since", "since", since),
    ):
        if value is not None:
            conditions.append(condition)
            values[name] = value
    statement = text(
        f"SELECT {RUN_COLUMNS} FROM k9ops.run WHERE {' AND '.join(conditions)}"
        " ORDER BY created_at DESC, id LIMIT :limit"
    )
    with database_errors(), engine.begin() as connection:
        return [run_from_row(row) for row in connection.execute(statement, values).mappings()]


def request_cancel(
    engine: Engine, run_id: uuid.UUID, *, requested_by: str, origin: str | None = None, reason: str | None = None
) -> Run:
    """Cancel a run that waits at once, or ask the worker of a running one to stop.

    Args:
        engine: The database.
        run_id: The run.
        requested_by: Who asks for it.
        origin: From where, for the audit.
        reason: Why, for the audit.

    Raises:
        RunNotFound: No run has this id.
        RunStateConflict: The run has ended.
    """
    statement = text(f"""
        UPDATE k9ops.run SET
            cancel_requested_at = now(),
            state = CASE WHEN state = 'running' THEN state ELSE 'cancelled' END,
            finished_at = CASE WHEN state = 'running' THEN NULL ELSE now() END,
            message = 'Cancelled by ' || :requested_by || '.'
        WHERE id = :id AND state IN ('queued', 'retrying', 'running')
        RETURNING {RUN_COLUMNS}
    """)
    event = AuditEvent(
        actor=requested_by, origin=origin, action="cancel", target_type="run", target_id=str(run_id), reason=reason
    )
    return _change(engine, statement, event, run_id, "cancelled")


def request_retry(
    engine: Engine, run_id: uuid.UUID, *, requested_by: str, origin: str | None = None, reason: str | None = None
) -> Run:
    """Put a run that ended without success back in the queue; the relay sends it.

    Its attempts start again from 1; what happened before stays in `history`.

    Args:
        engine: The database.
        run_id: The run.
        requested_by: Who asks for it.
        origin: From where, for the audit.
        reason: Why, for the audit.

    Raises:
        RunNotFound: No run has this id.
        RunStateConflict: The run has not ended, or it succeeded.
    """
    statement = text(f"""
        UPDATE k9ops.run SET {RETRY}
        WHERE id = :id AND state IN ('failed', 'cancelled', 'expired', 'partial')
        RETURNING {RUN_COLUMNS}
    """)
    event = AuditEvent(
        actor=requested_by, origin=origin, action="retry", target_type="run", target_id=str(run_id), reason=reason
    )
    return _change(engine, statement, event, run_id, "retried")


def _change(engine: Engine, statement: Any, event: AuditEvent, run_id: uuid.UUID, verb: str) -> Run:
    with database_errors(), engine.begin() as connection:
        state = connection.scalar(_LOCK_STATE, {"id": run_id})
        row = connection.execute(statement, {"id": run_id, "requested_by": event.actor}).mappings().first()
        if row is not None:
            before, after = {"job": row["job"], "state": state}, {"state": row["state"]}
            append_event(connection, replace(event, before=before, after=after, run_id=run_id))
    if row is None:
        run = get_run(engine, run_id)
        raise RunStateConflict(f"Run {run_id} is {run.state}: it cannot be {verb}.", state=run.state)
    return run_from_row(row)
