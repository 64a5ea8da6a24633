"""Many runs at once: looked at first, then exactly those are retried or discarded, in one transaction."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Engine, text

from k9ops.db.audit import AuditEvent, append_event
from k9ops.db.engine import database_errors
from k9ops.errors import RunStateConflict
from k9ops.ledger.browsing import RunFilter, describe_filter
from k9ops.ledger.model import Run
from k9ops.ledger.requests import DISCARD, RETRY
from k9ops.ledger.slots import read_clock

Action = Literal["retry", "discard"]

#: As many runs are changed by one action, the oldest first.
SELECTED_RUNS = 1000

#: States that an action can be asked for, and those that it means when no state is named.
POSSIBLE_STATES: Mapping[Action, frozenset[str]] = {
    "retry": frozenset({"failed", "expired", "partial", "cancelled"}),
    "discard": frozenset({"failed", "expired", "partial", "queued", "retrying"}),
}
_USUAL_STATES: Mapping[Action, frozenset[str]] = {
    "retry": frozenset({"failed", "expired"}),
    "discard": frozenset({"failed", "expired", "partial"}),
}
_CHANGES: Mapping[Action, str] = {"retry": RETRY, "discard": DISCARD}


@dataclass(frozen=True)
class Selection:
    """Runs that somebody has been shown, and what is to be done with them.

    Attributes:
        action: `retry` or `discard`.
        wanted: What they were looked for by.
        seen_at: When; a run that ended since is not as it was shown.
        run_ids: The oldest `SELECTED_RUNS` of them.
        total: How many fit.
    """

    action: Action
    wanted: RunFilter
    seen_at: datetime
    run_ids: tuple[uuid.UUID, ...]
    total: int


def select_runs(engine: Engine, action: Action, wanted: RunFilter) -> Selection:
    """Find the runs that an action would change; nothing is changed.

    Args:
        engine: The ledger's database.
        action: What is to be done with them.
        wanted: Which. Without a state: those that failed or expired, for `discard` also partial ones. Runs that were
            discarded before are left out.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    conditions, values = _describe(action, wanted)
    statement = text(f"""
        SELECT id, count(*) OVER () AS total, now() AS seen_at FROM k9ops.run WHERE {conditions}
        ORDER BY created_at, id LIMIT :limit
    """)
    with database_errors(), engine.begin() as connection:
        rows = connection.execute(statement, values | {"limit": SELECTED_RUNS}).all()
        seen_at = rows[0].seen_at if rows else connection.execute(text("SELECT now()")).scalar_one()
    return Selection(action, wanted, seen_at, tuple(row.id for row in rows), rows[0].total if rows else 0)


def select_run(engine: Engine, action: Action, run: Run) -> Selection:
    """Return one run as a selection.

    Raises:
        RunStateConflict: The action is not for the state of this run.
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    if run.state not in POSSIBLE_STATES[action]:
        verb = "retried" if action == "retry" else "discarded"
        raise RunStateConflict(f"Run {run.id} is {run.state}: it cannot be {verb}.", state=run.state)
    return Selection(action, RunFilter(state=run.state), read_clock(engine), (run.id,), 1)


def change_selected(
    engine: Engine, selection: Selection, *, requested_by: str, origin: str | None, reason: str | None
) -> list[uuid.UUID]:
    """Retry or discard those runs of a selection that still are as they were shown.

    Args:
        engine: The ledger's database.
        selection: As `select_runs` returned it.
        requested_by: Who asks for it.
        origin: From where, for the audit.
        reason: Why, for the audit.

    Returns:
        The runs that were changed; one audit entry names them all.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer; nothing is changed.
    """
    conditions, values = _describe(selection.action, selection.wanted)
    statement = text(f"""
        UPDATE k9ops.run SET {_CHANGES[selection.action]}
        WHERE id IN (SELECT id FROM k9ops.run
                     WHERE id = ANY(:ids) AND (finished_at IS NULL OR finished_at <= :seen_at) AND {conditions}
                     ORDER BY id FOR UPDATE)
        RETURNING id
    """)
    values |= {"ids": list(selection.run_ids), "seen_at": selection.seen_at, "requested_by": requested_by}
    described = selection.wanted.to_dict()
    with database_errors(), engine.begin() as connection:
        done = sorted(connection.scalars(statement, values))
        if done:
            is_one = len(selection.run_ids) == 1
            event = AuditEvent(
                actor=requested_by,
                origin=origin,
                action=selection.action,
                target_type="run" if is_one else "runs",
                target_id=str(done[0]) if is_one else ", ".join(f"{key}={value}" for key, value in described.items()),
                run_id=done[0] if is_one else None,
                reason=reason,
                after={"filter": described, "count": len(done), "runs": [str(run_id) for run_id in done]},
            )
            append_event(connection, event)
    return done


def _describe(action: Action, wanted: RunFilter) -> tuple[str, dict[str, Any]]:
    states = _USUAL_STATES[action] if wanted.state is None else POSSIBLE_STATES[action] & {wanted.state}
    conditions, values = describe_filter(wanted)
    conditions += ["state = ANY(:states)", "acknowledged_at IS NULL"]
    return " AND ".join(conditions), values | {"states": sorted(states)}
