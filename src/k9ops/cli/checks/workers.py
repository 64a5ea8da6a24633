"""Checks of the workers: the jobs that they know, and that one of them answers."""

from __future__ import annotations

import time
from collections.abc import Iterator

from sqlalchemy import Engine

from k9ops.broker.enqueue import enqueue_run
from k9ops.broker.jobs import find_actor
from k9ops.cli.checks.clocks import judge_skew
from k9ops.cli.checks.finding import Finding
from k9ops.cli.follow import follow_run
from k9ops.cli.names import load_broker
from k9ops.cli.session import name_requester
from k9ops.config.settings import Settings
from k9ops.db.engine import get_engine
from k9ops.errors import RunStateConflict
from k9ops.ledger.model import Run
from k9ops.ledger.processes import list_processes
from k9ops.ledger.queues import read_pauses
from k9ops.ledger.requests import request_cancel

_CANARY = "canary"


def check_actors() -> Iterator[Finding]:
    """Check which jobs are declared."""
    names = sorted(load_broker().get_declared_actors())
    yield Finding("actors", "ok", f"{len(names)} jobs: {', '.join(names)}.")


def check_canaries(settings: Settings, *, timeout_s: float) -> Iterator[Finding]:
    """Check for each queue that a worker takes a message and records its end; one that nobody takes is cancelled.

    All are sent at once: the time is that for all of them together. Each worker also says what its clock shows.

    Raises:
        DatabaseUnavailable: Nothing could be recorded.
    """
    engine, broker = get_engine(), load_broker()
    pauses = read_pauses(engine)
    for pause in pauses.values():
        words = f"It is paused by {pause.paused_by}: {pause.reason or 'no reason given'}."
        yield Finding(f"queue {pause.queue}", "warn", words, f"`k9ops queue resume {pause.queue}` lets its runs begin.")
    requester, ends_at_s = name_requester(), time.monotonic() + timeout_s
    asked = {
        queue: enqueue_run(
            engine,
            broker,
            settings,
            find_actor(broker, _CANARY),
            {},
            trigger="cli",
            requested_by=requester,
            queue=queue,
        )
        for queue in sorted(broker.get_declared_queues() - pauses.keys())
    }
    clocks: dict[str, float] = {}
    for queue, item in asked.items():
        name = f"queue {queue}"
        if item.path != "worker":
            request_cancel(engine, item.run_id, requested_by=requester)
            yield Finding(
                name, "fail", "No canary could be sent: the broker does not take messages.", "Start it first."
            )
            continue
        left_s = max(0.0, ends_at_s - time.monotonic())
        run = follow_run(engine, item.run_id, timeout_s=left_s, is_silent=True)
        yield _judge_canary(engine, run, name, requester=requester, timeout_s=timeout_s)
        if run.evidence and "clock_ahead_s" in run.evidence:
            clocks[run.evidence["host"]] = run.evidence["clock_ahead_s"]
    for host, ahead_s in sorted(clocks.items()):
        yield judge_skew(f"The worker's machine {host}", ahead_s, of="PostgreSQL")


def _judge_canary(engine: Engine, run: Run, name: str, *, requester: str, timeout_s: float) -> Finding:
    if run.state == "succeeded" and run.finished_at is not None:
        took_s = (run.finished_at - run.created_at).total_seconds()
        return Finding(name, "ok", f"{run.message} The canary took {took_s:.1f} s, there and back.")
    if run.is_final or run.state == "retrying":
        return Finding(name, "fail", f"The canary {run.state}: {run.message}", f"`k9ops runs show {run.id}` says more.")
    try:
        request_cancel(engine, run.id, requested_by=requester)
    except RunStateConflict:
        return Finding(name, "warn", f"A worker answered, but not within {timeout_s:g} s.", "Look at its load.")
    if any(not item.is_silent and run.queue in item.queues for item in list_processes(engine)):
        advice = "It may be busy with long runs: `k9ops inspect active` shows them."
        return Finding(name, "warn", f"A worker serves it, but took no canary within {timeout_s:g} s.", advice)
    advice = "Start a worker: `dramatiq k9ops.actors`, or `k9ops up` for everything."
    return Finding(name, "fail", f"No worker took a canary within {timeout_s:g} s.", advice)
