"""Asking for a run: the row first, then the message."""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import dramatiq
from sqlalchemy import Connection, Engine

from k9ops.broker.inline import execute_inline
from k9ops.broker.jobs import Fallback, Job, check_params, describe_job
from k9ops.broker.sending import build_message, send_messages
from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.errors import BrokerUnavailable, DatabaseUnavailable, RunStateConflict
from k9ops.ledger.model import NewRun
from k9ops.ledger.outbox import mark_unsent
from k9ops.ledger.requests import find_recorded_id, get_run, insert_run, record_run, record_unless_open
from k9ops.slot import find_run_slot

_LOG = get_logger("k9ops.broker")


@dataclass(frozen=True)
class Enqueued:
    """What became of a request.

    Attributes:
        run_id: The run; that of the first request when this job has a run for the slot already, or an open one of the
            same parameters and is declared coalesced.
        is_new: False when there was such a run; nothing is sent then.
        path: `worker` when the message was sent, `outbox` when it waits for the relay, `inline` when the run was
            executed in the caller, None when it is not new.
    """

    run_id: uuid.UUID
    is_new: bool
    path: Literal["worker", "outbox", "inline"] | None


def enqueue_run(
    engine: Engine,
    broker: dramatiq.Broker,
    settings: Settings,
    actor: dramatiq.Actor[..., Any],
    params: dict[str, Any],
    *,
    trigger: str = "enqueue",
    requested_by: str | None = None,
    origin: str | None = None,
    reason: str | None = None,
    delay_s: float = 0.0,
    connection: Connection | None = None,
    fallback: Fallback | None = None,
    queue: str | None = None,
) -> Enqueued:
    """Record a run and send its message.

    Args:
        engine: The ledger's database.
        broker: Where the message goes.
        settings: Lease of an inline execution.
        actor: The job.
        params: Its keyword arguments, JSON values; `slot` also names the slot of the run.
        trigger: What asked for it.
        requested_by: Who asked for it.
        origin: From where a person asks for it, for the audit.
        reason: Why, for the audit.
        delay_s: Earliest start, in seconds from now; the relay sends it then.
        connection: Records the run in this open transaction; the relay sends it after the commit, never before.
        fallback: When the broker is away: `outbox` leaves the message to the relay; `inline` executes the job here and
            now if it is declared safe for that and `K9OPS_INLINE_FALLBACK` allows it, else as `outbox`; `raise`
            leaves it to the relay and says so. None is what the job declares.
        queue: Another queue than the job's own.

    Raises:
        ParamsInvalid: The job does not take these parameters.
        DatabaseUnavailable: Nothing is recorded and nothing sent.
        BrokerUnavailable: With `raise`; the run is recorded and waits in the outbox.
    """
    check_params(actor, params)
    job = describe_job(actor)
    new = describe_request(job, params, trigger=trigger, requested_by=requested_by, delay_s=delay_s, queue=queue)
    new = replace(new, origin=origin, reason=reason)
    is_sent_here = connection is None and not delay_s
    if job.is_coalesced and connection is None:
        open_id = record_unless_open(engine, new, is_sent=is_sent_here)
        if open_id is not None:
            return Enqueued(open_id, is_new=False, path=None)
        is_new = True
    elif connection is not None:
        is_new = insert_run(connection, new, is_sent=False)
    else:
        is_new = record_run(engine, new, is_sent=is_sent_here)
    if not is_new:
        return Enqueued(find_recorded_id(engine, new), is_new=False, path=None)
    if not is_sent_here:
        return Enqueued(new.id, is_new=True, path="outbox")
    try:
        send_messages(broker, [build_message(new.id, new.job, new.queue, params)], is_prompt=True)
    except BrokerUnavailable as exc:
        wanted = fallback or job.fallback
        _LOG.warning("run.unsent", run_id=str(new.id), job=new.job, problem=exc.user_message, fallback=wanted)
        if wanted == "inline" and job.is_inline_safe and settings.inline_fallback:
            return _execute_here(engine, broker, settings, new.id)
        with contextlib.suppress(DatabaseUnavailable):  # it is recorded; it seems lost, and is sent again later
            mark_unsent(engine, [new.id])
        if wanted == "raise":
            raise
        return Enqueued(new.id, is_new=True, path="outbox")
    return Enqueued(new.id, is_new=True, path="worker")


def _execute_here(engine: Engine, broker: dramatiq.Broker, settings: Settings, run_id: uuid.UUID) -> Enqueued:
    try:
        execute_inline(engine, broker, settings, run_id)
    except RunStateConflict:
        # Redis had the message although it did not say so, and a worker was quicker; or the queue is paused.
        is_waiting = get_run(engine, run_id).state == "queued"
        return Enqueued(run_id, is_new=True, path="outbox" if is_waiting else "worker")
    return Enqueued(run_id, is_new=True, path="inline")


def describe_request(
    job: Job,
    params: dict[str, Any],
    *,
    trigger: str,
    requested_by: str | None,
    delay_s: float = 0.0,
    queue: str | None = None,
) -> NewRun:
    """Return the run that a request asks for; its slot, due moment and expiry follow from the parameters and the job.

    Raises:
        ParamsInvalid: `slot` is no moment.
    """
    slot = find_run_slot(params)
    due_at = datetime.now(UTC) + timedelta(seconds=delay_s) if delay_s else None
    return NewRun(
        job=job.name,
        queue=queue or job.queue,
        params=params,
        trigger=trigger,
        requested_by=requested_by,
        slot=slot,
        due_at=due_at,
        expires_at=job.expires_at(slot or due_at),
        private_params=job.private_params,
    )
