"""Recorded runs that are executed in this process."""

from __future__ import annotations

import uuid
from typing import Any

import dramatiq
from sqlalchemy import Engine

from k9ops.broker.inline import execute_inline, record_inline_run
from k9ops.cli.follow import follow_run
from k9ops.cli.output import print_remark
from k9ops.cli.progress import show_progress
from k9ops.cli.run_view import SHORT_ID
from k9ops.cli.session import name_here, name_requester
from k9ops.config.settings import Settings
from k9ops.errors import RunStateConflict
from k9ops.ledger.model import Run
from k9ops.ledger.requests import get_run


def run_here(
    engine: Engine,
    broker: dramatiq.Broker,
    settings: Settings,
    actor: dramatiq.Actor[..., Any],
    params: dict[str, Any],
    *,
    reason: str | None,
    is_silent: bool,
) -> Run:
    """Record a run, execute it here with progress, and return it as it ended.

    Args:
        engine: The ledger's database.
        broker: Knows the job.
        settings: Lease.
        actor: The job.
        params: Its keyword arguments, JSON values.
        reason: Why a person asks for it, for the audit.
        is_silent: Show no progress.

    Raises:
        K9opsError: As `record_inline_run` and `execute_inline`.
        KeyboardInterrupt: The run was put back, and the person was told so.
    """
    who = name_requester()
    run_id = record_inline_run(
        engine, actor, params, trigger="cli", requested_by=who, origin=name_here(), reason=reason
    )
    return execute_here(engine, broker, settings, run_id, is_silent=is_silent)


def execute_here(
    engine: Engine, broker: dramatiq.Broker, settings: Settings, run_id: uuid.UUID, *, is_silent: bool
) -> Run:
    """Execute a recorded run here, or follow it when a worker was faster."""
    run = get_run(engine, run_id)
    try:
        with show_progress(run.job, is_silent=is_silent) as display:
            return execute_inline(engine, broker, settings, run_id, on_progress=display.report, is_forced=True)
    except RunStateConflict:
        if get_run(engine, run_id).state != "running":
            raise
        return follow_run(engine, run_id, is_silent=is_silent)
    except KeyboardInterrupt:
        _say_where_it_is(get_run(engine, run_id))
        raise


def _say_where_it_is(run: Run) -> None:
    if run.is_final:
        print_remark(f"Run {run.id} had ended, {run.state}.")
        return
    place = "is back in the queue" if run.state != "running" else "goes back to the queue when its lease ends"
    print_remark(f"Run {run.id} {place}; a worker may take it. `k9ops runs cancel {str(run.id)[:SHORT_ID]}` drops it.")
