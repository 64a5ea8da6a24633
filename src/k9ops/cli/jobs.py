"""`k9ops enqueue` and `k9ops run`: a job by a worker, or here and now."""

from __future__ import annotations

from typing import Annotated

import typer
from sqlalchemy import Engine

from k9ops.broker.enqueue import Enqueued, enqueue_run
from k9ops.broker.jobs import find_actor
from k9ops.cli.failures import EXIT_FAILED
from k9ops.cli.follow import find_follow_ups, follow_run
from k9ops.cli.inline import run_here
from k9ops.cli.names import JobName, Reason, load_broker
from k9ops.cli.output import JsonFlag, print_json, print_remark, print_text
from k9ops.cli.params import parse_params
from k9ops.cli.run_view import SHORT_ID, print_outcome, run_document
from k9ops.cli.session import name_here, name_requester, open_settings
from k9ops.db.engine import get_engine
from k9ops.ledger.model import Run
from k9ops.ledger.requests import get_run

SUCCESS_STATES = frozenset({"succeeded", "skipped"})

ParamPairs = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter of the job; may be given again."),
]


def enqueue(
    job: JobName,
    param: ParamPairs = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run until it has ended.")] = False,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", min=0, help="Longest wait; implies --wait.")
    ] = None,
    reason: Reason = None,
    as_json: JsonFlag = False,
) -> None:
    """Ask a worker to run a job.

    Exits 1 when --wait was given and the run did not succeed in time.
    """
    settings, broker, engine = open_settings(), load_broker(), get_engine()
    actor = find_actor(broker, job)
    params = parse_params(actor, param or [])
    who = name_requester()
    asked = enqueue_run(
        engine, broker, settings, actor, params, trigger="cli", requested_by=who, origin=name_here(), reason=reason
    )
    if not as_json:
        _say_what_became_of(asked, job)
    if not wait and timeout_s is None:
        if as_json:
            _print_document(engine, get_run(engine, asked.run_id), asked)
        return
    run = follow_run(engine, asked.run_id, timeout_s=timeout_s, is_silent=as_json)
    if as_json:
        _print_document(engine, run, asked)
    elif run.is_final:
        print_outcome(run)
        _mention_follow_ups(engine, run)
    else:
        print_remark(f"It is {run.state} after {timeout_s:g} s; `k9ops runs show {_short(run)}` says how it goes on.")
    if run.state not in SUCCESS_STATES:
        raise typer.Exit(EXIT_FAILED)


def run(
    job: JobName,
    param: ParamPairs = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list or count: the same as --param dry_run=true.")
    ] = False,
    reason: Reason = None,
    as_json: JsonFlag = False,
) -> None:
    """Run a job now, in this process, recorded like any other run.

    Redis is not needed. Ctrl-C stops the job and puts the run back in the queue.
    """
    settings, broker, engine = open_settings(), load_broker(), get_engine()
    actor = find_actor(broker, job)
    params = parse_params(actor, [*(param or []), *(["dry_run=true"] if dry_run else [])])
    ended = run_here(engine, broker, settings, actor, params, reason=reason, is_silent=as_json)
    if as_json:
        print_json(run_document(ended, follow_ups=find_follow_ups(engine, ended)))
    else:
        print_outcome(ended)
        _mention_follow_ups(engine, ended)
    if ended.state not in SUCCESS_STATES:
        raise typer.Exit(EXIT_FAILED)


def _say_what_became_of(asked: Enqueued, job: str) -> None:
    short = str(asked.run_id)[:SHORT_ID]
    if not asked.is_new:
        print_text(f"There is a run of {job} for this slot already: {short}. Nothing was sent.")
    elif asked.path == "outbox":
        print_text(f"Run {short} ({job}) is recorded; Redis is away, so it is sent when Redis is back.")
    else:
        print_text(f"Run {short} ({job}) was sent.")


def _print_document(engine: Engine, run: Run, asked: Enqueued) -> None:
    document = run_document(run, follow_ups=find_follow_ups(engine, run))
    print_json({**document, "is_new": asked.is_new, "path": asked.path})


def _mention_follow_ups(engine: Engine, run: Run) -> None:
    for item in find_follow_ups(engine, run):
        print_remark(f"It started {item.job} (run {_short(item)}, {item.state}); a worker takes it from here.")


def _short(run: Run) -> str:
    return str(run.id)[:SHORT_ID]
