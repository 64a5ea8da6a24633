"""Many jobs in a row that meet their limits, each kind for itself: `python -m tests.chaos.limits_long --count N`."""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg.types.json import Jsonb
from tests.chaos.storm_fleet import MARK, Fleet, Member, find_marked
from tests.chaos.storm_servers import StormPostgres, StormRedis
from tests.processes import ROOT, wait_for

from k9ops.embedded.places import temporary_folder
from k9ops.ledger.model import NewRun

_OPEN = "SELECT count(*) FROM k9ops.run WHERE finished_at IS NULL"
_RECORD = "INSERT INTO k9ops.run (id, job, queue, params, trigger) VALUES (%s, %s, 'limits', %s, 'enqueue')"
_ENDS = "SELECT state, error_class, attempt, deaths, count(*) FROM k9ops.run WHERE job = %s GROUP BY 1, 2, 3, 4"
_DEADLINE_S = 7_200


@dataclass(frozen=True)
class Kind:
    """A job that meets a limit.

    Attributes:
        error_class: With which it ends.
        threads: Of the worker.
        share: How much of the number that was asked for.
    """

    error_class: str
    threads: int
    share: float = 1.0


KINDS = {
    "heed_soft_limit": Kind("RunInterrupted", 48),
    "ignore_soft_limit": Kind("TimeLimitExceeded", 48),
    "wait_for_child": Kind("RunInterrupted", 48),
    "ask_for_too_much": Kind("MemoryLimitExceeded", 48),
    "sleep_in_c": Kind("TimeLimitExceeded", 48),
    "eat_memory_until_asked": Kind("MemoryLimitExceeded", 2),
    "eat_memory": Kind("MemoryLimitExceeded", 2, share=0.02),  # each takes its process along
}


def main() -> int:
    """Run each kind; exit with 1 when a run ended otherwise, a process is left, or a worker takes fewer jobs."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.limits_long", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    arguments = parser.parse_args()
    is_good = True
    with temporary_folder() as folder, _servers(folder) as (postgres, environment):
        for job in arguments.kinds:
            is_good &= _run_kind(postgres, environment, folder, job, max(1, int(arguments.count * KINDS[job].share)))
    return 0 if is_good else 1


@contextmanager
def _servers(folder: Path) -> Iterator[tuple[StormPostgres, dict[str, str]]]:
    server, postgres = StormRedis(folder / "redis"), StormPostgres(folder / "postgres")
    try:
        server.start()
        postgres.start()
        environment = {
            "DATABASE_URL": postgres.url,
            "REDIS_URL": f"redis://127.0.0.1:{server.port}",
            "K9OPS_RELAY_INTERVAL_S": "0.1",
            "K9OPS_RESEND_AFTER_S": "2",
            "K9OPS_WATCH_INTERVAL_S": "0",
            "K9OPS_WORKER_MEMORY_MB": "256",
        }
        upgrade = [sys.executable, "-m", "k9ops", "db", "upgrade"]
        subprocess.run(upgrade, cwd=ROOT, env=os.environ | environment, check=True, capture_output=True)
        yield postgres, environment
    finally:
        postgres.stop()
        server.kill()


def _run_kind(postgres: StormPostgres, environment: dict[str, str], folder: Path, job: str, count: int) -> bool:
    kind, mark, place = KINDS[job], secrets.token_hex(8), folder / job
    place.mkdir()
    command = ["dramatiq", "tests.chaos.limits_worker", "-p", "1", "-t", str(kind.threads)]
    worker = Member(command, environment | {MARK: mark}, place / "worker.log")
    fleet = Fleet({"worker": worker})
    begun_s = time.monotonic()
    fleet.start()
    try:
        _ask(postgres, job, [_params(job, place, number) for number in range(count)])
        taken_s = time.monotonic() - begun_s
        meeting = [{"folder": str(place), "number": n, "count": kind.threads} for n in range(kind.threads)]
        _ask(postgres, "meet", meeting)
    finally:
        fleet.stop()
    ends = postgres.ask(_ENDS, [job])
    met = postgres.ask(_ENDS, ["meet"])
    postgres.ask("DELETE FROM k9ops.run WHERE job = 'meet'")
    left = find_marked(f"{MARK}={mark}")
    is_good = ends == [("failed", kind.error_class, 1, 0, count)] and not left and len(met) == 1
    is_good &= met[0][0] == "succeeded"
    print(f"{'ok ' if is_good else 'BAD'} {job}: {count} in {taken_s:.0f} s, {worker.starts} starts of the worker")
    if not is_good:
        print(f"    ended: {ends}, met: {met}, processes left: {left}")
    sys.stdout.flush()
    return is_good


def _params(job: str, place: Path, number: int) -> dict[str, Any]:
    return (
        {"folder": str(place)} if job in ("sleep_in_c", "eat_memory", "eat_memory_until_asked") else {"number": number}
    )


def _ask(postgres: StormPostgres, job: str, params: list[dict[str, Any]]) -> None:
    """Ask for runs of a job, and return when all have ended."""
    for item in params:
        postgres.ask(_RECORD, [NewRun(job=job, queue="limits", params=item).id, job, Jsonb(item)])
    wait_for(lambda: postgres.ask(_OPEN)[0][0] == 0, deadline_s=_DEADLINE_S)


if __name__ == "__main__":
    sys.exit(main())
