"""The two steps that every run takes, claimed and ended: those of all threads of a process in one statement."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Engine

from k9ops.combiner import Combiner
from k9ops.db.engine import execute_alone
from k9ops.ledger.model import RUN_COLUMNS, Run
from k9ops.ledger.run_log import APPEND_LOG

# Rows are found by an array of ids, so that PostgreSQL takes the primary key: it cannot know how long the array is, and
# guesses ten. A join to the steps would be planned for a hundred, as one over the whole table.
_CARRY_OUT = f"""
    WITH ended AS (
        UPDATE k9ops.run SET
            state = steps -> run.id::text ->> 'state', finished_at = now(),
            message = steps -> run.id::text ->> 'message',
            evidence = CAST(steps -> run.id::text ->> 'evidence' AS jsonb),
            error_class = steps -> run.id::text ->> 'error_class',
            traceback = steps -> run.id::text ->> 'traceback', lease_owner = NULL, lease_expires_at = NULL,
            {APPEND_LOG.replace(":log", "(steps -> run.id::text ->> 'log')")}
        FROM (SELECT CAST(%(ends)s AS jsonb) AS steps) AS given
        WHERE run.id = ANY(ARRAY(SELECT CAST(jsonb_object_keys(%(ends)s) AS uuid))) AND (run.state = 'running') IS TRUE
          AND run.lease_owner = steps -> run.id::text ->> 'owner'
        RETURNING run.id),
    claimed AS (
        UPDATE k9ops.run SET
            state = 'running', attempt = attempt + CAST(run.state <> 'running' AS int),
            path = steps -> run.id::text ->> 'path',
            started_at = coalesce(started_at, now()), lease_owner = steps -> run.id::text ->> 'owner',
            lease_expires_at = now() + make_interval(secs => CAST(steps -> run.id::text ->> 'lease_s' AS float8)),
            progress = NULL, message = NULL, error_class = NULL, traceback = NULL
        FROM (SELECT CAST(%(claims)s AS jsonb) AS steps) AS given
        WHERE run.id = ANY(ARRAY(SELECT CAST(jsonb_object_keys(%(claims)s) AS uuid)))
          AND ((run.state IN ('queued', 'retrying') AND run.due_at <= now()) IS TRUE
               AND (run.expires_at IS NULL OR run.started_at IS NOT NULL OR run.expires_at > now())
               AND (CAST(steps -> run.id::text ->> 'is_forced' AS boolean)
                    OR NOT EXISTS (SELECT FROM k9ops.queue_pause WHERE queue_pause.queue = run.queue))
            OR (run.state = 'running') IS TRUE AND run.lease_owner = steps -> run.id::text ->> 'owner')
        RETURNING {RUN_COLUMNS})
    SELECT ARRAY(SELECT id FROM ended), claimed.* FROM (VALUES (1)) AS one LEFT JOIN claimed ON true
"""


@dataclass(frozen=True)
class ClaimStep:
    """A run is to be claimed, if it is due and its queue not paused.

    Carried out again, when its answer was lost, it is the same claim.

    Attributes:
        run_id: The run.
        owner: Who claims it, a name that no other claim has.
        lease_s: How long the claim holds without renewal.
        path: `worker` or `inline`.
        is_forced: Also while the queue is paused.
    """

    run_id: uuid.UUID
    owner: str
    lease_s: float
    path: str
    is_forced: bool = False


@dataclass(frozen=True)
class EndStep:
    """A claimed run is to end, if its owner holds it still.

    Attributes:
        run_id: The run.
        owner: Of its claim.
        state: Its final state.
        message: One sentence.
        evidence: JSON; None without any.
        error_class: Name of the error's class; None without one.
        traceback: Of a bug.
        log: New log lines, as `encode_log` returns them.
    """

    run_id: uuid.UUID
    owner: str
    state: str
    message: str | None
    evidence: str | None
    error_class: str | None
    traceback: str | None
    log: str | None = None


def carry_out_claim(engine: Engine, step: ClaimStep) -> Run | None:
    """Claim a run; None when there is nothing to claim."""
    run: Run | None = _get_combiner(engine)(step)
    return run


def carry_out_end(engine: Engine, step: EndStep) -> bool:
    """End a run; False when its owner holds it no more: nothing is written then."""
    return bool(_get_combiner(engine)(step))


@lru_cache(maxsize=4)
def _get_combiner(engine: Engine) -> Combiner[ClaimStep | EndStep, Any]:
    return Combiner(lambda steps: carry_out_steps(engine, steps))


def carry_out_steps(engine: Engine, steps: Sequence[ClaimStep | EndStep]) -> list[Any]:
    """Carry out steps of several runs in one transaction.

    Returns:
        For each claim its run, or None; for each end whether it was recorded.
    """
    if len({(type(step), step.run_id) for step in steps}) < len(steps):
        # Copies of a message, or claims of which one is lost: one after the other.
        return [carry_out_steps(engine, [step])[0] for step in steps]
    ends = {str(step.run_id): vars(step) for step in steps if isinstance(step, EndStep)}
    claims = {str(step.run_id): vars(step) for step in steps if isinstance(step, ClaimStep)}
    rows = execute_alone(engine, _CARRY_OUT, {"ends": Jsonb(ends, _encode), "claims": Jsonb(claims, _encode)})
    ended = set(rows[0][0])
    claimed = {run.id: run for run in (Run(*row[1:]) for row in rows)}
    return [claimed.get(step.run_id) if isinstance(step, ClaimStep) else step.run_id in ended for step in steps]


_encode = partial(json.dumps, default=str)
