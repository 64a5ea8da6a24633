"""Which workers and schedulers there are: each reports itself, and is silent when it has not for a while."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from sqlalchemy import Engine, text

from k9ops.db.engine import database_errors
from k9ops.version import __version__

_REPORT = text("""
    INSERT INTO k9ops.process (name, kind, host, pid, version, queues, threads, silent_after_s)
    VALUES (:name, :kind, :host, :pid, :version, :queues, :threads, :silent_after_s)
    ON CONFLICT (name) DO UPDATE SET seen_at = now()
""")

_FORGET_SILENT = text("DELETE FROM k9ops.process WHERE seen_at < now() - :silence")


@dataclass(frozen=True)
class ProcessReport:
    """A worker or scheduler.

    Attributes:
        name: Unique, also over restarts; the leases of its runs begin with it.
        kind: `worker` or `scheduler`.
        host: Name of its machine or container.
        pid: Process id there.
        version: Of k9ops.
        queues: What a worker serves.
        threads: How many runs a worker executes at once.
        started_at: Aware UTC.
        seen_at: When it last reported, aware UTC.
        silent_after_s: It should have reported again by then.
        is_silent: Whether it has not.
        runs: How many runs it holds.
    """

    name: str
    kind: str
    host: str
    pid: int
    version: str
    queues: list[str]
    threads: int
    started_at: datetime
    seen_at: datetime
    silent_after_s: int
    is_silent: bool
    runs: int


_LIST = text("""
    SELECT process.*, process.seen_at < now() - make_interval(secs => silent_after_s) AS is_silent,
        (SELECT count(*) FROM k9ops.run WHERE state = 'running' AND starts_with(lease_owner, process.name)) AS runs
    FROM k9ops.process ORDER BY kind DESC, host, pid, started_at
""")


def report_process(
    engine: Engine, name: str, *, kind: str, queues: Sequence[str] = (), threads: int = 1, silent_after_s: int
) -> None:
    """Say that this process is there.

    Args:
        engine: The ledger's database.
        name: As `make_owner_name` gives it.
        kind: `worker` or `scheduler`.
        queues: What a worker serves.
        threads: How many runs it executes at once.
        silent_after_s: It reports again before that.
    """
    values = {
        "name": name,
        "kind": kind,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "version": __version__,
        "queues": list(queues),
        "threads": threads,
        "silent_after_s": silent_after_s,
    }
    with database_errors(), engine.begin() as connection:
        connection.execute(_REPORT, values)


def forget_process(engine: Engine, name: str) -> None:
    """Say that a process has ended."""
    with database_errors(), engine.begin() as connection:
        connection.execute(text("DELETE FROM k9ops.process WHERE name = :name"), {"name": name})


def forget_silent_processes(engine: Engine, *, silence: timedelta) -> int:
    """Forget processes that have been silent for long, and return how many."""
    with database_errors(), engine.begin() as connection:
        return connection.execute(_FORGET_SILENT, {"silence": silence}).rowcount


def list_processes(engine: Engine) -> list[ProcessReport]:
    """Return every process that has reported and has not said goodbye, schedulers last."""
    names = [item.name for item in fields(ProcessReport)]
    with database_errors(), engine.begin() as connection:
        rows = connection.execute(_LIST).mappings()
        return [ProcessReport(**{name: row[name] for name in names}) for row in rows]
