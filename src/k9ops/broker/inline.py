"""Executes a recorded run in this process: for `k9ops run`, and for jobs that may run in their caller."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import dramatiq
import structlog
from sqlalchemy import Engine

from k9ops.broker.conclude import record_conclusion
from k9ops.broker.jobs import check_params, describe_job
from k9ops.broker.keeper import Keeper
from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.errors import RunStateConflict, is_interrupt
from k9ops.ledger.claims import claim_run
from k9ops.ledger.conclusion import Conclusion, conclude_error, conclude_return
from k9ops.ledger.execution import ActiveRun, current_run, make_owner_name, set_current
from k9ops.ledger.model import NewRun, Run
from k9ops.ledger.requests import find_recorded_id, get_run, record_run
from k9ops.slot import find_run_slot

_LOG = get_logger("k9ops.broker")


def record_inline_run(
    engine: Engine,
    actor: dramatiq.Actor[..., Any],
    params: dict[str, Any],
    *,
    trigger: str,
    requested_by: str | None,
    origin: str | None = None,
    reason: str | None = None,
) -> uuid.UUID:
    """Record a run that this process is about to execute; no message is sent.

    Args:
        engine: The ledger's database.
        actor: The job.
        params: Its keyword arguments, JSON values.
        trigger: What asked for it.
        requested_by: Who asked for it.
        origin: From where a person asks for it, for the audit.
        reason: Why, for the audit.

    Returns:
        The run's id; that of the existing run when the job has one for the slot.
    """
    check_params(actor, params)
    job = describe_job(actor)
    slot = find_run_slot(params)
    new = NewRun(
        job=job.name,
        queue=job.queue,
        params=params,
        trigger=trigger,
        requested_by=requested_by,
        slot=slot,
        origin=origin,
        reason=reason,
        private_params=job.private_params,
    )
    return new.id if record_run(engine, new, is_sent=True) else find_recorded_id(engine, new)


def execute_inline(
    engine: Engine,
    broker: dramatiq.Broker,
    settings: Settings,
    run_id: uuid.UUID,
    *,
    on_progress: Callable[[int, int, str], None] | None = None,
    is_forced: bool = False,
) -> Run:
    """Claim a run, execute its job here, record how it ended, and return it.

    A failed attempt is recorded as by a worker: a retry is left to the relay.

    Args:
        engine: The ledger's database.
        broker: Knows the job.
        settings: Lease.
        run_id: A recorded run.
        on_progress: Told (done, total, unit) whenever the job is.
        is_forced: Also while its queue is paused.

    Raises:
        RunStateConflict: The run cannot be claimed now.
        KeyboardInterrupt: Passed on, after the run was put back.
    """
    owner = make_owner_name()
    held_until_s = time.monotonic() + settings.lease_s
    claim = claim_run(engine, run_id, owner=owner, lease_s=settings.lease_s, path="inline", is_forced=is_forced)
    if claim is None:
        state = get_run(engine, run_id).state
        raise RunStateConflict(f"Run {run_id} is {state}: it cannot be started here.", state=state)
    actor = broker.get_actor(claim.run.job)
    job = describe_job(actor)
    active = ActiveRun(
        claim,
        soft_limit_s=job.soft_limit_s,
        held_until_s=held_until_s,
        on_progress=on_progress,
        private_params=job.private_params,
    )
    keeper = Keeper(settings, broker=None)
    keeper.add(active)
    keeper.start()
    outer = current_run()
    set_current(active)
    context = {"run_id": str(run_id), "job": job.name, "queue": job.queue, "attempt": claim.run.attempt}
    try:
        with structlog.contextvars.bound_contextvars(**context):
            _LOG.info("run.started", worker=owner, path="inline", trigger=claim.run.trigger)
            try:
                conclusion = conclude_return(actor.fn(**claim.run.params))
            except (Exception, KeyboardInterrupt) as exc:
                if is_interrupt(exc):
                    interrupted = Conclusion("put_back", "", "Interrupted by a person.")
                    record_conclusion(engine, broker, active, interrupted)
                    raise KeyboardInterrupt from exc
                conclusion = conclude_error(exc, active, job.retries)
            record_conclusion(engine, broker, active, conclusion)
    finally:
        set_current(outer)
        keeper.stop()
    return get_run(engine, run_id)
