"""Checks of the workers: the jobs that they know, and that one of them answers."""

from __future__ import annotations

from collections.abc import Iterator

from k9ops.broker.enqueue import enqueue_run
from k9ops.broker.jobs import find_actor
from k9ops.cli.checks.finding import Finding
from k9ops.cli.follow import follow_run
from k9ops.cli.names import load_broker
from k9ops.cli.session import name_requester
from k9ops.config.settings import Settings
from k9ops.db.engine import get_engine
from k9ops.errors import RunStateConflict
from k9ops.ledger.requests import request_cancel

_CANARY = "canary"


def check_actors() -> Iterator[Finding]:
    """Check which jobs are declared."""
    names = sorted(load_broker().get_declared_actors())
    yield Finding("actors", "ok", f"{len(names)} jobs: {', '.join(names)}.")


def check_canary(settings: Settings, *, timeout_s: float) -> Iterator[Finding]:
    """Check that a worker takes a message and records its end; a canary that nobody takes is cancelled.

    Raises:
        DatabaseUnavailable: Nothing could be recorded.
    """
    engine, broker = get_engine(), load_broker()
    requester = name_requester()
    asked = enqueue_run(
        engine, broker, settings, find_actor(broker, _CANARY), {}, trigger="cli", requested_by=requester
    )
    if asked.path != "worker":
        request_cancel(engine, asked.run_id, requested_by=requester)
        yield Finding("canary", "fail", "It could not be sent: Redis does not take messages.", "Start Redis first.")
        return
    run = follow_run(engine, asked.run_id, timeout_s=timeout_s, is_silent=True)
    if run.state == "succeeded" and run.finished_at is not None:
        took_s = (run.finished_at - run.created_at).total_seconds()
        yield Finding("canary", "ok", f"{run.message} It took {took_s:.1f} s, there and back.")
        return
    if run.is_final or run.state == "retrying":
        yield Finding("canary", "fail", f"It {run.state}: {run.message}", f"`k9ops runs show {run.id}` says more.")
        return
    try:
        request_cancel(engine, run.id, requested_by=requester)
    except RunStateConflict:
        yield Finding("canary", "warn", f"A worker answered, but not within {timeout_s:g} s.", "Look at its load.")
        return
    advice = "Start a worker: `dramatiq k9ops.actors`, or `k9ops up` for everything."
    yield Finding("canary", "fail", f"No worker took it within {timeout_s:g} s.", advice)
