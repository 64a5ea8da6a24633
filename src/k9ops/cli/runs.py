"""`k9ops runs`: look at the ledger, retry and cancel."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer
from sqlalchemy import Engine

from k9ops.cli.follow import find_follow_ups
from k9ops.cli.names import Reason, RunId
from k9ops.cli.output import JsonFlag, print_json, print_text
from k9ops.cli.run_view import SHORT_ID, print_run, print_runs, run_dict, run_document
from k9ops.cli.selections import (
    DryRunFlag,
    ErrorOption,
    JobOption,
    OptionalRunId,
    QueueOption,
    SinceOption,
    UntilOption,
    YesFlag,
    carry_out,
    select,
)
from k9ops.cli.session import name_here, name_requester, open_settings
from k9ops.cli.since import parse_since
from k9ops.db.engine import get_engine
from k9ops.db.own_tables import RUN_STATES
from k9ops.errors import RunNotFound
from k9ops.ledger.chain import read_chain
from k9ops.ledger.model import Run
from k9ops.ledger.requests import find_run, get_run, list_runs, request_cancel, request_retry
from k9ops.ledger.run_log import read_log

app = typer.Typer(help="Look at runs, retry and cancel them.", no_args_is_help=True)

RunState = StrEnum("RunState", [(name, name) for name in RUN_STATES])  # type: ignore[misc]


@app.command("list")
def list_command(
    job: Annotated[str | None, typer.Option("--job", help="Only runs of this job.")] = None,
    states: Annotated[
        list[RunState] | None, typer.Option("--state", help="Only runs in this state; may be given again.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", help="Only runs created since: 30m, 2h, 7d, or a date such as 2026-11-24T08:00."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most this many.")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """List runs, newest first."""
    settings = open_settings()
    moment = parse_since(since, settings, now=datetime.now(UTC)) if since else None
    names = [str(state.value) for state in states or ()]
    runs = list_runs(get_engine(), job=job, states=names, since=moment, limit=limit)
    if as_json:
        print_json({"runs": [run_dict(run) for run in runs]})
    else:
        print_runs(runs, settings.zone)


@app.command("show")
def show(run_id: RunId, as_json: JsonFlag = False) -> None:
    """Show one run: parameters, attempts, evidence, log, error, and the chain of runs that it belongs to."""
    settings = open_settings()
    engine = get_engine()
    run = find_run(engine, run_id)
    chain, log = read_chain(engine, run.id), read_log(engine, run.id)
    if as_json:
        parent, follow_ups = _find_parent(engine, run), find_follow_ups(engine, run)
        print_json(run_document(run, parent=parent, follow_ups=follow_ups, chain=chain, log=log))
    else:
        print_run(run, settings.zone, chain=chain, log=log)


@app.command("retry")
def retry(
    run_id: OptionalRunId = None,
    job: JobOption = None,
    state: Annotated[
        RunState | None, typer.Option("--state", help="All in this state; else failed or expired.")
    ] = None,
    queue: QueueOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    error: ErrorOption = None,
    is_dry_run: DryRunFlag = False,
    yes: YesFlag = False,
    reason: Reason = None,
    as_json: JsonFlag = False,
) -> None:
    """Put a run that ended without success back in the queue, or all that have something in common."""
    settings, engine = open_settings(), get_engine()
    wanted = {"job": job, "state": state.value if state else None, "queue": queue, "words": error}
    selection = select(engine, settings, "retry", run_id, **wanted, since=since, until=until)
    if run_id is None or is_dry_run:
        carry_out(engine, selection, zone=settings.zone, reason=reason, is_dry_run=is_dry_run, yes=yes, as_json=as_json)
        return
    run = request_retry(engine, selection.run_ids[0], requested_by=name_requester(), origin=name_here(), reason=reason)
    if as_json:
        print_json(run_document(run))
    else:
        print_text(f"Run {_short(run)} ({run.job}) is queued again; a worker sends and starts it.")


@app.command("discard")
def discard(
    run_id: OptionalRunId = None,
    job: JobOption = None,
    state: Annotated[
        RunState | None, typer.Option("--state", help="All in this state; else failed, expired or partial.")
    ] = None,
    queue: QueueOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    error: ErrorOption = None,
    is_dry_run: DryRunFlag = False,
    yes: YesFlag = False,
    reason: Reason = None,
    as_json: JsonFlag = False,
) -> None:
    """Say that a run that went wrong is looked after, so that nothing reminds of it; one that waits is cancelled."""
    settings, engine = open_settings(), get_engine()
    wanted = {"job": job, "state": state.value if state else None, "queue": queue, "words": error}
    selection = select(engine, settings, "discard", run_id, **wanted, since=since, until=until)
    carry_out(
        engine,
        selection,
        zone=settings.zone,
        reason=reason,
        is_dry_run=is_dry_run,
        yes=yes or run_id is not None,
        as_json=as_json,
    )


@app.command("cancel")
def cancel(run_id: RunId, reason: Reason = None, as_json: JsonFlag = False) -> None:
    """Cancel a run that waits, or ask the worker of a running one to stop."""
    open_settings()
    engine = get_engine()
    found, who = find_run(engine, run_id), name_requester()
    run = request_cancel(engine, found.id, requested_by=who, origin=name_here(), reason=reason)
    if as_json:
        print_json(run_document(run))
    elif run.is_final:
        print_text(f"Run {_short(run)} ({run.job}) is cancelled.")
    else:
        print_text(f"Run {_short(run)} ({run.job}) is running: its worker was asked to stop.")


def _find_parent(engine: Engine, run: Run) -> Run | None:
    if run.parent_id is None:
        return None
    try:
        return get_run(engine, run.parent_id)
    except RunNotFound:
        return None


def _short(run: Run) -> str:
    return str(run.id)[:SHORT_ID]
