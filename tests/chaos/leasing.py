"""What the tests of `leasing_worker` share."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine
from tests.processes import wait_for

from k9ops.ledger.model import NewRun, Run
from k9ops.ledger.requests import get_run, record_run

WORKER = "tests.chaos.leasing_worker"


def ask(engine: Engine, job: str, **params: object) -> NewRun:
    """Record a run, which the relay of a worker sends."""
    new = NewRun(job=job, queue="leases", params=params)
    record_run(engine, new, is_sent=False)
    return new


def read(path: Path) -> list[str]:
    """Return the claims that a job has noted."""
    return path.read_text(encoding="ascii").splitlines() if path.exists() else []


def wait_for_end(engine: Engine, new: NewRun) -> Run:
    """Return the run when it has its outcome."""
    run: Run = wait_for(lambda: run if (run := get_run(engine, new.id)).is_final else None)
    return run
