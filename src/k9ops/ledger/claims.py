"""A worker's claim on a run: taken, renewed, and given up with an outcome.

Every change after the claim is conditional on its owner's name, which no other claim ever has, so a worker that lost
its lease writes nothing.
All moments come from PostgreSQL's clock.
"""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from k9ops.db.audit import AuditEvent, append_event
from k9ops.db.engine import database_errors, execute_alone
from k9ops.db.storable import make_storable
from k9ops.errors import DatabaseUnavailable
from k9ops.ledger.model import NewRun, Run
from k9ops.ledger.requests import insert_run
from k9ops.ledger.run_log import APPEND_LOG, encode_log
from k9ops.ledger.steps import ClaimStep, EndStep, carry_out_claim, carry_out_end

_CHANGING_STATES = frozenset({"succeeded", "partial"})

# A message that comes before its run is due, or while its queue is paused, is spent; the relay sends another when the
# time has come. No condition asks for the reason: it may have ended since the claim was refused.
_LEAVE_TO_RELAY = """
    UPDATE k9ops.run SET sent_at = NULL WHERE id = %(id)s AND state IN ('queued', 'retrying')
"""

_RENEW = text("""
    UPDATE k9ops.run SET
        lease_expires_at = now() + make_interval(secs => :lease_s),
        progress = coalesce(CAST(held.progress AS jsonb), run.progress)
    FROM unnest(CAST(:ids AS uuid[]), CAST(:owners AS text[]), CAST(:progress AS text[]))
        AS held (id, owner, progress)
    WHERE run.id = held.id AND run.lease_owner = held.owner AND run.state = 'running'
    RETURNING held.owner, run.cancel_requested_at IS NOT NULL AS is_cancelled
""")

_GIVE_UP = """
    UPDATE k9ops.run SET {changes}, {log}, lease_owner = NULL, lease_expires_at = NULL
    WHERE id = :id AND state = 'running' AND lease_owner = :owner
    RETURNING id
"""

_HISTORY = """
    history = history || jsonb_build_object(
        'attempt', attempt, 'outcome', CAST(:outcome AS text), 'worker', lease_owner, 'ended_at', now(),
        'error_class', CAST(:error_class AS text), 'message', CAST(:message AS text))
"""

_FINISH = text(
    _GIVE_UP.format(
        log=APPEND_LOG,
        changes="""
    state = :state, finished_at = now(), message = :message, evidence = CAST(:evidence AS jsonb),
    error_class = :error_class, traceback = :traceback
""",
    )
)

# A run whose cancellation was asked for meanwhile ends instead of waiting for another attempt.
_WAIT_AGAIN = """
    state = CASE WHEN cancel_requested_at IS NULL THEN 'retrying' ELSE 'cancelled' END,
    finished_at = CASE WHEN cancel_requested_at IS NOT NULL THEN now() END, sent_at = NULL, sends = 0
"""

_RETRY = text(
    _GIVE_UP.format(
        log=APPEND_LOG,
        changes=f"""
    {_WAIT_AGAIN}, due_at = now() + make_interval(secs => :delay_s),
    message = :message, error_class = :error_class, traceback = :traceback, {_HISTORY}
""",
    )
)

_PUT_BACK = text(
    _GIVE_UP.format(
        log=APPEND_LOG,
        changes=f"""
    {_WAIT_AGAIN}, due_at = now(), message = :message, {_HISTORY}, attempt = attempt - 1
""",
    )
)


@dataclass(frozen=True)
class Claim:
    """A time-limited right to execute a run.

    Attributes:
        run: The run as it was when claimed; `run.attempt` counts from 1.
        owner: The process that holds the lease, and a token of this claim alone.
    """

    run: Run
    owner: str


def claim_run(
    engine: Engine,
    run_id: uuid.UUID,
    *,
    owner: str,
    lease_s: float,
    path: str,
    token: str | None = None,
    is_forced: bool = False,
) -> Claim | None:
    """Claim a run that is due.

    Args:
        engine: The database.
        run_id: The run.
        owner: Name of this process.
        lease_s: How long the claim holds without renewal.
        path: `worker` or `inline`.
        token: Of this claim: asked for again with the same one, since the answer was lost, it is the same claim.
        is_forced: Also while the queue is paused: a person wants this run now.

    Returns:
        None when the run is claimed by another, has ended, is not due, is of a paused queue, or is unknown.
    """
    step = ClaimStep(run_id, f"{owner}/{token or make_claim_token()}", lease_s, path, is_forced)
    with database_errors():
        run = carry_out_claim(engine, step)
        if run is None:
            execute_alone(engine, _LEAVE_TO_RELAY, {"id": run_id})
            return None
    return Claim(run, step.owner)


def make_claim_token() -> str:
    """Return what tells a claim from every other."""
    return secrets.token_hex(4)


def renew_leases(
    engine: Engine, claims: Sequence[tuple[Claim, Mapping[str, Any] | None]], *, lease_s: float
) -> dict[str, bool]:
    """Renew the leases of one process and store the progress of its runs.

    Args:
        engine: The database.
        claims: Each claim with its progress, None when that has not changed.
        lease_s: How long the claims hold from now on.

    Returns:
        The owners' names of the claims that still hold, each with whether the run's cancellation was asked for; a
        missing one is lost.
    """
    values = {
        "ids": [claim.run.id for claim, _ in claims],
        "owners": [claim.owner for claim, _ in claims],
        "progress": [json.dumps(dict(progress)) if progress else None for _, progress in claims],
        "lease_s": lease_s,
    }
    with database_errors(), engine.begin() as connection:
        return {row.owner: row.is_cancelled for row in connection.execute(_RENEW, values)}


def finish_run(
    engine: Engine,
    claim: Claim,
    *,
    state: str,
    message: str,
    evidence: Mapping[str, Any] | None = None,
    error_class: str | None = None,
    traceback: str | None = None,
    follow_ups: Sequence[NewRun] = (),
    is_audited: bool = True,
    log: Sequence[Mapping[str, Any]] = (),
) -> bool:
    """Record how a run ended, what it logged, the runs that follow from it, and the audit entry, in one transaction.

    Returns:
        False when the lease was lost: nothing is written then.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer, or the audit chain is in use; nothing is written, call again.
    """
    values = {
        "state": state,
        "message": message,
        "evidence": None if evidence is None else json.dumps(dict(evidence), ensure_ascii=False),
        "error_class": error_class,
        "traceback": traceback,
        "log": encode_log(log),
    }
    has_changed = is_audited and state in _CHANGING_STATES
    if not follow_ups and not has_changed:
        with database_errors():
            return carry_out_end(engine, EndStep(claim.run.id, claim.owner, **_make_storable(values)))
    with database_errors(), engine.begin() as connection:
        if not _give_up(connection, _FINISH, claim, values):
            return False
        for new in follow_ups:
            insert_run(connection, new, is_sent=False)
        if has_changed:
            after = {"state": state, "message": message, "evidence": dict(evidence or {})}
            _append_conclusion(connection, claim, after)
    return True


def retry_run(
    engine: Engine,
    claim: Claim,
    *,
    delay_s: float,
    outcome: str,
    message: str,
    error_class: str,
    traceback: str | None,
    log: Sequence[Mapping[str, Any]] = (),
) -> bool:
    """Give a run up for another attempt after a delay; the relay sends it then. False when the lease was lost."""
    values = {
        "delay_s": delay_s,
        "outcome": outcome,
        "message": message,
        "error_class": error_class,
        "traceback": traceback,
        "log": encode_log(log),
    }
    with database_errors(), engine.begin() as connection:
        return _give_up(connection, _RETRY, claim, values)


def put_back_run(engine: Engine, claim: Claim, *, message: str, log: Sequence[Mapping[str, Any]] = ()) -> bool:
    """Give a run back at once, as if this attempt had not been. False when the lease was lost."""
    values = {"outcome": "put_back", "message": message, "error_class": None, "log": encode_log(log)}
    with database_errors(), engine.begin() as connection:
        return _give_up(connection, _PUT_BACK, claim, values)


def _append_conclusion(connection: Connection, claim: Claim, after: Mapping[str, Any]) -> None:
    """Append what a job did, as it says itself; the evidence names the things that it changed."""
    run = claim.run
    event = AuditEvent(
        actor=run.job,
        origin=f"worker {claim.owner.rpartition('/')[0]}",
        action="finish",
        target_type="run",
        target_id=str(run.id),
        after=after,
        run_id=run.id,
    )
    try:
        append_event(connection, event)
    except OperationalError as exc:
        if isinstance(exc.orig, psycopg.errors.LockNotAvailable):
            raise DatabaseUnavailable("The audit chain is in use by another process.", reason=str(exc.orig)) from exc
        raise


def _give_up(connection: Connection, statement: Any, claim: Claim, values: Mapping[str, Any]) -> bool:
    return (
        connection.execute(statement, {"id": claim.run.id, "owner": claim.owner, **_make_storable(values)}).first()
        is not None
    )


def _make_storable(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: make_storable(value) for name, value in values.items()}
