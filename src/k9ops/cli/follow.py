"""Following runs: until one ends, and on to the runs that it started."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import Engine

from k9ops.cli.progress import ProgressDisplay, show_progress
from k9ops.ledger.model import Run
from k9ops.ledger.requests import get_run, list_runs

_POLL_S = 0.5


def follow_run(
    engine: Engine,
    run_id: uuid.UUID,
    *,
    timeout_s: float | None = None,
    is_silent: bool = False,
    check_alive: Callable[[], None] | None = None,
) -> Run:
    """Wait until a run has ended, showing how far it is.

    Args:
        engine: The ledger's database.
        run_id: The run.
        timeout_s: Longest wait; None is no limit.
        is_silent: Show nothing.
        check_alive: Called at each look; raises when waiting has become pointless.

    Returns:
        The run as it was last seen; not ended when the time was over.
    """
    deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
    run = get_run(engine, run_id)
    with show_progress(_describe(run), is_silent=is_silent) as display:
        while not run.is_final and (deadline_s is None or time.monotonic() < deadline_s):
            _show(run, display)
            if check_alive is not None:
                check_alive()
            time.sleep(_POLL_S)
            run = get_run(engine, run_id)
    return run


def find_follow_ups(engine: Engine, run: Run) -> list[Run]:
    """Return the runs that a run has started, oldest first."""
    return list(reversed(list_runs(engine, parent_id=run.id)))


def _show(run: Run, display: ProgressDisplay) -> None:
    display.relabel(_describe(run))
    if run.progress:
        display.report(run.progress["done"], run.progress["total"], run.progress["unit"])


def _describe(run: Run) -> str:
    if run.state == "retrying" and run.due_at > datetime.now(UTC):
        wait_s = (run.due_at - datetime.now(UTC)).total_seconds()
        until = f"{wait_s / 60:.0f} min" if wait_s > 90 else f"{round(wait_s, -1):.0f} s"
        return f"{run.job} retrying in {until} ({run.message})"
    if run.state == "running" and run.attempt > 1:
        return f"{run.job} running (attempt {run.attempt})"
    return f"{run.job} {run.state}"
