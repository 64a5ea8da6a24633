"""`k9ops inspect`: queues, workers, runs at work, jobs, statistics and what is dead."""

from __future__ import annotations

import inspect as inspect_module
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from k9ops.broker.build import build_broker
from k9ops.broker.inspection import count_messages, list_dead_letters
from k9ops.broker.jobs import describe_job
from k9ops.broker.queue_messages import QueueMessages
from k9ops.cli.names import load_broker
from k9ops.cli.output import (
    JsonFlag,
    format_duration,
    format_moment,
    print_json,
    print_remark,
    print_table,
    print_text,
    style_state,
)
from k9ops.cli.run_view import SHORT_ID, run_dict
from k9ops.cli.session import open_settings
from k9ops.cli.since import parse_since
from k9ops.config.settings import Settings
from k9ops.db.engine import get_engine
from k9ops.ledger.model import Run
from k9ops.ledger.processes import list_processes
from k9ops.ledger.queue_history import read_queue_history, sum_up
from k9ops.ledger.queues import QueuePause, read_pauses
from k9ops.ledger.requests import list_runs
from k9ops.ledger.statistics import QueueRuns, summarise_jobs, summarise_queues

app = typer.Typer(help="Look at queues, workers, runs at work and what is dead.", no_args_is_help=True)

_LIMIT = 100
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most this many.")]


@app.command("queues")
def queues(as_json: JsonFlag = False) -> None:
    """Count messages of the broker and runs in the ledger, for each queue."""
    settings = open_settings()
    runs = summarise_queues(get_engine())
    pauses = read_pauses(get_engine())
    last_day = sum_up(read_queue_history(get_engine(), now=datetime.now(UTC)))
    messages = _count_messages(settings, also={*runs, *pauses})
    served = {queue for process in list_processes(get_engine()) if not process.is_silent for queue in process.queues}
    if as_json:
        documents = [
            {
                **asdict(item),
                "runs": asdict(runs.get(item.queue, QueueRuns(item.queue))),
                "is_served": item.queue in served,
                "last_day": last_day.get(item.queue, {"most_waiting": 0, "done": 0, "failed": 0}),
                "pause": asdict(pauses[item.queue]) if item.queue in pauses else None,
            }
            for item in messages
        ]
        print_json({"queues": documents})
        return
    columns = (
        "queue",
        ">waiting",
        ">fetched",
        ">delayed",
        ">dead",
        ">due",
        ">running",
        ">retrying",
        ">later",
        "oldest due",
        "worker",
    )
    rows = [
        _queue_row(item, runs.get(item.queue, QueueRuns(item.queue)), _style_service(item.queue, served, pauses))
        for item in messages
    ]
    print_table(columns, rows, empty="No queues.")
    for pause in pauses.values():
        since = f"paused since {format_moment(pause.paused_at, settings.zone)} by {pause.paused_by}"
        print_text(f"{pause.queue}: {since}, because: {pause.reason or '-'}")
    print_remark("waiting, fetched, delayed and dead are messages of the broker; the rest are runs in the ledger.")


@app.command("workers")
def workers(
    is_here: Annotated[
        bool, typer.Option("--here", help="Only those of this machine or container; exits 1 when none is alive.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """List the workers and schedulers that report to the ledger."""
    import socket

    settings = open_settings()
    found = [item for item in list_processes(get_engine()) if not is_here or item.host == socket.gethostname()]
    if as_json:
        print_json({"processes": [asdict(item) for item in found]})
    else:
        rows: list[list[RenderableType]] = [
            [
                item.kind,
                item.host,
                str(item.pid),
                ", ".join(item.queues) or "-",
                str(item.threads),
                str(item.runs),
                item.version,
                format_moment(item.started_at, settings.zone),
                format_moment(item.seen_at, settings.zone),
                style_state("fail") if item.is_silent else style_state("ok"),
            ]
            for item in found
        ]
        columns = ("kind", "host", ">pid", "queues", ">threads", ">runs", "version", "started", "last seen", "state")
        print_table(columns, rows, empty="No worker or scheduler reports to this ledger.")
    if is_here and not any(not item.is_silent for item in found):
        raise typer.Exit(1)


@app.command("active")
def active(as_json: JsonFlag = False) -> None:
    """List the runs that are executed now."""
    settings = open_settings()
    runs = list_runs(get_engine(), states=("running",), limit=_LIMIT)
    if as_json:
        print_json({"runs": [run_dict(run) for run in runs]})
        return
    columns = ("id", "job", ">attempt", f"started ({settings.timezone})", ">for", "progress", "worker", ">lease left")
    print_table(columns, [_active_row(run, settings) for run in runs], empty="No run is executed now.")


@app.command("registered")
def registered(as_json: JsonFlag = False) -> None:
    """List the jobs that this version knows."""
    open_settings()
    broker = load_broker()
    documents = []
    for name in sorted(broker.get_declared_actors()):
        actor = broker.get_actor(name)
        job = describe_job(actor)
        documents.append(
            {
                "job": name,
                "queue": job.queue,
                "priority": actor.priority,
                "params": list(inspect_module.signature(actor.fn).parameters),
                "tries": job.retries.max_attempts,
                "soft_limit_s": job.soft_limit_s,
                "hard_limit_s": actor.options["time_limit"] / 1000,
                "max_lateness_s": job.max_lateness_s,
                "is_inline_safe": job.is_inline_safe,
                "fallback": job.fallback,
                "description": (inspect_module.getdoc(actor.fn) or "").partition("\n")[0],
            }
        )
    if as_json:
        print_json({"jobs": documents})
        return
    rows: list[list[RenderableType]] = [
        [
            item["job"],
            item["queue"],
            str(item["priority"]),
            ", ".join(item["params"]) or "-",
            str(item["tries"]),
            f"{format_duration(item['soft_limit_s'])} / {format_duration(item['hard_limit_s'])}",
            item["description"],
        ]
        for item in documents
    ]
    print_table(("job", "queue", ">priority", "params", ">tries", "soft / hard limit", "what it does"), rows, empty="")


@app.command("stats")
def stats(
    since: Annotated[
        str, typer.Option("--since", help="Runs created since: 30m, 2h, 7d, or a date such as 2026-11-24T08:00.")
    ] = "24h",
    as_json: JsonFlag = False,
) -> None:
    """Say for each job who executed its runs, what became of them, how long they took, and when it last went well."""
    settings = open_settings()
    moment = parse_since(since, settings, now=datetime.now(UTC))
    found = summarise_jobs(get_engine(), since=moment)
    if as_json:
        print_json({"since": moment, "jobs": [asdict(item) for item in found]})
        return
    rows: list[list[RenderableType]] = [
        [
            item.job,
            *(
                str(n)
                for n in (
                    item.runs,
                    item.by_worker,
                    item.inline,
                    item.succeeded,
                    item.skipped,
                    item.partial,
                    item.failed,
                    item.dropped,
                    item.open,
                )
            ),
            format_duration(item.median_s),
            format_duration(item.p95_s),
            format_moment(item.last_good_at, settings.zone),
        ]
        for item in found
    ]
    columns = (
        "job",
        ">runs",
        ">worker",
        ">inline",
        ">succeeded",
        ">skipped",
        ">partial",
        ">failed",
        ">dropped",
        ">open now",
        ">median",
        ">p95",
        "last went well",
    )
    print_table(columns, rows, empty="No run is recorded yet.")
    print_remark(f"Runs created since {format_moment(moment, settings.zone)} ({settings.timezone}).")


@app.command("dead")
def dead(limit: Limit = _LIMIT, as_json: JsonFlag = False) -> None:
    """List failed runs of the ledger, newest first, and dead letters of the broker."""
    settings = open_settings()
    runs = list_runs(get_engine(), states=("failed",), also_acknowledged=False, limit=limit)
    broker = build_broker(settings)
    letters = list_dead_letters(broker, sorted(load_broker().get_declared_queues()), limit=limit)
    broker.close()
    if as_json:
        print_json({"runs": [run_dict(run) for run in runs], "dead_letters": [asdict(item) for item in letters]})
        return
    failed: list[list[RenderableType]] = [
        [
            str(run.id)[:SHORT_ID],
            run.job,
            format_moment(run.finished_at, settings.zone),
            run.error_class or "",
            run.message or "",
        ]
        for run in runs
    ]
    print_table(("run", "job", "failed", "error", "message"), failed, empty="No run has failed.")
    if letters:
        rows: list[list[RenderableType]] = [
            [item.message_id[:SHORT_ID], item.job, item.queue, format_moment(item.died_at, settings.zone)]
            for item in letters
        ]
        print_table(("message", "job", "queue", "died"), rows, empty="")
        print_remark("A dead letter is the message of a run that ended; it expires by itself.")
    if runs:
        print_remark("`k9ops runs show ID` says what happened, `k9ops runs retry ID` tries it again.")


def _count_messages(settings: Settings, *, also: Iterable[str]) -> list[QueueMessages]:
    # Runs may wait in a queue that no job has any more: one that was renamed.
    queues = sorted({*load_broker().get_declared_queues(), *also})
    broker = build_broker(settings)
    try:
        return count_messages(broker, queues)
    finally:
        broker.close()


def _queue_row(item: QueueMessages, runs: QueueRuns, service: RenderableType) -> list[RenderableType]:
    counts: list[Any] = [
        item.waiting,
        item.fetched,
        item.delayed,
        item.dead,
        runs.due,
        runs.running,
        runs.retrying,
        runs.later,
    ]
    return [
        item.queue,
        *("-" if count is None else str(count) for count in counts),
        format_duration(runs.oldest_due_s),
        service,
    ]


def _style_service(queue: str, served: Collection[str], pauses: Mapping[str, QueuePause]) -> RenderableType:
    if queue in pauses:
        return Text("paused", style="yellow")
    return style_state("ok") if queue in served else style_state("fail")


def _active_row(run: Run, settings: Settings) -> list[RenderableType]:
    now = datetime.now(UTC)
    progress = run.progress
    return [
        str(run.id)[:SHORT_ID],
        run.job,
        str(run.attempt),
        format_moment(run.started_at, settings.zone),
        format_duration((now - run.started_at).total_seconds() if run.started_at else None),
        f"{progress['done']} of {progress['total'] or '?'} {progress['unit']}" if progress else "-",
        (run.lease_owner or "").rpartition("/")[0],
        format_duration((run.lease_expires_at - now).total_seconds() if run.lease_expires_at else None),
    ]
