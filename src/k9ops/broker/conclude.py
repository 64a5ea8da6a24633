"""Writes the conclusion of an attempt into the ledger, and the one log event that tells it."""

from __future__ import annotations

import time
import uuid

import dramatiq
from sqlalchemy import Engine

from k9ops.broker.jobs import describe_job, find_actor
from k9ops.config.logging import get_logger
from k9ops.ledger.claims import finish_run, put_back_run, retry_run
from k9ops.ledger.conclusion import Conclusion
from k9ops.ledger.execution import ActiveRun
from k9ops.ledger.model import NewRun
from k9ops.outcome import FollowUp
from k9ops.slot import parse_slot

_LOG = get_logger("k9ops.broker")


def record_conclusion(engine: Engine, broker: dramatiq.Broker, active: ActiveRun, conclusion: Conclusion) -> bool:
    """Record what became of a run, and the runs that follow from it.

    Returns:
        False when another process holds the run now; nothing is written then.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer; nothing is written, call again.
    """
    is_recorded = _write(engine, broker, active, conclusion)
    duration_s = round(time.monotonic() - active.started_monotonic_s, 3)
    if not is_recorded:
        _LOG.warning("run.lease_lost", duration_s=duration_s)
    elif conclusion.action == "finish":
        log = _LOG.error if conclusion.state == "failed" else _LOG.info
        evidence = dict(conclusion.outcome.evidence) if conclusion.outcome else None
        details = {
            "evidence": evidence,
            "error_class": conclusion.error_class,
            "error_traceback": conclusion.traceback,
        }
        log(
            "run.finished",
            state=conclusion.state,
            outcome_message=conclusion.message,
            duration_s=duration_s,
            **{name: value for name, value in details.items() if value},
        )
    elif conclusion.action == "retry":
        _LOG.warning(
            "run.retrying",
            delay_s=round(conclusion.delay_s, 3),
            error_class=conclusion.error_class,
            outcome_message=conclusion.message,
            duration_s=duration_s,
            error_traceback=conclusion.traceback,
        )
    else:
        _LOG.info("run.put_back", outcome_message=conclusion.message, duration_s=duration_s)
    return is_recorded


def _write(engine: Engine, broker: dramatiq.Broker, active: ActiveRun, conclusion: Conclusion) -> bool:
    claim = active.claim
    log, _ = active.log.pending()
    if conclusion.action == "abandon":
        return False
    if conclusion.action == "put_back":
        return put_back_run(engine, claim, message=conclusion.message, log=log)
    if conclusion.action == "retry":
        return retry_run(
            engine,
            claim,
            delay_s=conclusion.delay_s,
            outcome="retrying",
            message=conclusion.message,
            error_class=conclusion.error_class or "",
            traceback=conclusion.traceback,
            log=log,
        )
    outcome = conclusion.outcome
    return finish_run(
        engine,
        claim,
        state=conclusion.state,
        message=conclusion.message,
        evidence=outcome.evidence if outcome else None,
        error_class=conclusion.error_class,
        traceback=conclusion.traceback,
        follow_ups=[
            _follow_up_run(broker, active, position, item)
            for position, item in enumerate(outcome.follow_ups if outcome else ())
        ],
        is_audited=describe_job(find_actor(broker, claim.run.job)).is_audited,
        log=log,
    )


def _follow_up_run(broker: dramatiq.Broker, active: ActiveRun, position: int, item: FollowUp) -> NewRun:
    # The id follows from the parent's, so that an outcome that is recorded again starts nothing twice. A person's retry
    # is another outcome: what follows from that must not be taken for what followed before.
    parent = active.claim.run
    retries = sum("retried_by" in item for item in parent.history)
    name = f"{position}:{item.job}" + (f":{retries}" if retries else "")
    job = describe_job(find_actor(broker, item.job))
    slot = parse_slot(item.params.get("slot"))
    return NewRun(
        job=job.name,
        queue=job.queue,
        params=item.params,
        id=uuid.uuid5(parent.id, name),
        trigger="follow_up",
        requested_by=parent.requested_by,
        parent_id=parent.id,
        slot=slot,
        expires_at=job.expires_at(slot),
    )
