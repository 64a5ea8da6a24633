"""The product's worker with jobs that leave a countable effect.

`storm.execution` gets a row for each claim whose job began; `storm.effect` one for each run, whoever writes it first,
as every job of the product makes its effect safe to repeat. The outcome names the claim that it belongs to.
"""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime

import dramatiq
from tests.chaos.storm_effects import CHILDREN, EPOCH, QUEUE

from k9ops.actors import broker
from k9ops.db.engine import database_errors, execute_alone, get_engine
from k9ops.errors import PermanentError, TransientError
from k9ops.ledger.execution import current_execution, current_run
from k9ops.outcome import FollowUp, Outcome

__all__ = ["broker"]

STEP_S = 0.05

_BEGIN = "INSERT INTO storm.execution VALUES (%(owner)s, %(run_id)s, %(now)s)"
_CHECKED = "UPDATE storm.execution SET checked_at = %(now)s WHERE owner = %(owner)s"
_COUNT = "INSERT INTO storm.effect VALUES (%(run_id)s, %(owner)s) ON CONFLICT DO NOTHING"

_OPTIONS = {"queue_name": QUEUE, "max_retries": 1_000, "min_backoff": 100, "max_backoff": 500, "time_limit": 600_000}


@dramatiq.actor(**_OPTIONS, is_audited=False)
def count_quickly(*, number: int) -> Outcome:
    """Count once; nothing of it stands in the audit."""
    return _count(steps=0)


@dramatiq.actor(**_OPTIONS)
def count_slowly(*, steps: int) -> Outcome:
    """Count once, after some steps between which the job may be stopped."""
    return _count(steps)


@dramatiq.actor(**_OPTIONS, is_audited=False)
def count_slot(*, slot: str) -> Outcome:
    """Count once for a slot, however often it is asked for."""
    return _count(steps=1)


@dramatiq.actor(**_OPTIONS, is_audited=False)
def count_at_second_try(*, number: int) -> Outcome:
    """Fail the first time."""
    active = current_run()
    assert active is not None
    if active.claim.run.attempt == 1:
        _write(_BEGIN)
        raise TransientError("It does not work yet.")
    return _count(steps=0)


@dramatiq.actor(**_OPTIONS, is_audited=False)
def count_with_children(*, number: int) -> Outcome:
    """Count once, and start others."""
    outcome = _count(steps=0)
    follow_ups = tuple(FollowUp("count_quickly", {"number": child}) for child in range(CHILDREN))
    return Outcome(outcome.state, outcome.message, outcome.evidence, follow_ups)


@dramatiq.actor(**_OPTIONS, is_audited=False)
def refuse(*, number: int) -> Outcome:
    """Fail for good, without an effect."""
    _write(_BEGIN)
    raise PermanentError("This can never work.")


@dramatiq.actor(**_OPTIONS, is_audited=False)
def kill_worker(*, number: int) -> Outcome:
    """Take the worker process down each time."""
    _write(_BEGIN)
    os.kill(os.getpid(), signal.SIGKILL)
    return Outcome("failed", "It did not die.")


def _count(steps: int) -> Outcome:
    execution = current_execution()
    active = current_run()
    assert active is not None
    _write(_BEGIN)
    for _ in range(steps):
        execution.check_stop()
        time.sleep(STEP_S)
    checked_at = _now()
    execution.check_stop()
    _write(_CHECKED, now=checked_at)
    _write(_COUNT)
    return Outcome("succeeded", "Counted.", {"owner": active.claim.owner})


def _now() -> datetime:
    """Return the true time, although the clock of this process may be wrong."""
    return datetime.fromtimestamp(float(os.environ[EPOCH]) + time.monotonic(), UTC)


def _write(statement: str, *, now: datetime | None = None) -> None:
    active = current_run()
    assert active is not None
    values = {"run_id": active.claim.run.id, "owner": active.claim.owner, "now": now or _now()}
    with database_errors():
        execute_alone(get_engine(), statement, values)
