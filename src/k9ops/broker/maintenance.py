"""The maintenance jobs as plain calls: what the keeper does all the time, once more as recorded runs, and pruning."""

from __future__ import annotations

import os
import socket
import time
from datetime import timedelta

import dramatiq
from sqlalchemy import Engine

from k9ops.broker.rescuing import Rescuer, expire_runs
from k9ops.broker.sending import relay_unsent_runs
from k9ops.config.settings import Settings
from k9ops.ledger.processes import forget_silent_processes
from k9ops.ledger.pruning import prune_runs
from k9ops.ledger.slots import read_clock
from k9ops.outcome import Execution, Outcome, skipped

_BUDGET_S = 30.0
_SILENCE = timedelta(days=1)
_ROUTINE_JOBS = ("canary", "relay_outbox", "rescue_runs", "prune_runs")


def answer(engine: Engine) -> Outcome:
    """Say which process this is, and how far its machine's clock is ahead of PostgreSQL's.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    before_s = time.time()
    theirs_s = read_clock(engine).timestamp()
    ahead_s = (before_s + time.time()) / 2 - theirs_s
    evidence = {"host": socket.gethostname(), "pid": os.getpid(), "clock_ahead_s": round(ahead_s, 3)}
    return Outcome("succeeded", f"A worker on {evidence['host']} answered.", evidence)


def relay(settings: Settings, engine: Engine, broker: dramatiq.Broker) -> Outcome:
    """Send the messages that wait in the outbox.

    Raises:
        BrokerUnavailable: The rest stays in the outbox.
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    sent = relay_unsent_runs(engine, broker, resend_after_s=settings.resend_after_s, budget_s=_BUDGET_S)
    if not sent:
        return skipped("No run waited in the outbox.")
    return Outcome("succeeded", f"{sent} runs were sent from the outbox.", {"sent": sent})


def rescue(settings: Settings, engine: Engine) -> Outcome:
    """Put the runs of dead workers back, and end those that are too late.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    rescuer = Rescuer(engine, settings)
    rescued = rescuer.look()
    if rescuer.has_suspects:
        time.sleep(rescuer.doubt_s)
        rescued = rescuer.look()
    expired = expire_runs(engine)
    if not rescued and not expired:
        return skipped("No run was lost or too late.")
    evidence = {"rescued": [str(run.id) for run in rescued], "expired": [str(run.id) for run in expired]}
    return Outcome("succeeded", f"{len(rescued)} runs were put back, {len(expired)} have expired.", evidence)


def prune(settings: Settings, engine: Engine, *, execution: Execution) -> Outcome:
    """Delete old runs from the ledger, and forget processes that are long gone.

    Results in Redis expire by themselves, after `K9OPS_RESULT_TTL_S`.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    before = execution.requested_at - timedelta(days=settings.run_retention_days)
    routine_before = execution.requested_at - timedelta(days=settings.maintenance_retention_days)
    deleted = prune_runs(
        engine,
        before=before,
        routine_before=routine_before,
        routine_jobs=_ROUTINE_JOBS,
        check_stop=execution.check_stop,
    )
    forget_silent_processes(engine, silence=_SILENCE)
    evidence = {"deleted": deleted, "before": before.isoformat(), "routine_before": routine_before.isoformat()}
    if not deleted:
        return skipped("No run is old enough.", **evidence)
    return Outcome("succeeded", f"{deleted} old runs left the ledger.", evidence)
