"""Real `periodiq k9ops.periodic` processes; each fires the current minute when it starts."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from typing import Any

import psycopg
from tests.e2e.conftest import Command, wait_for

AWAY_DAYS = 3


def set_back(database_url: str) -> None:
    """Leave the ledger as days without a scheduler would."""
    with psycopg.connect(database_url) as connection:
        connection.execute("DELETE FROM k9ops.schedule")
        connection.execute(
            "INSERT INTO k9ops.schedule (name, dispatched_until)"
            " VALUES ('lock_schedules', now() - %s * interval '1 day')",
            (AWAY_DAYS,),
        )


def find_scheduled(command: Command, job: str = "lock_schedules") -> list[dict[str, Any]]:
    runs = command.json("runs", "list", "--limit", "1000")["runs"]
    return [run for run in runs if run["trigger"] == "schedule" and run["job"] == job]


def test_three_schedulers_at_once_make_one_run(k9ops: Command, database_url: str) -> None:
    set_back(database_url)
    with ExitStack() as stack:
        plans = [k9ops.scheduler(f"scheduler-{number}", until="scheduler.started") for number in range(3)]
        schedulers = [stack.enter_context(plan) for plan in plans]
        for number in range(3):
            stack.enter_context(k9ops.scheduler(f"late-{number}"))
        assert [scheduler.exit_code() for scheduler in schedulers] == [None] * 3
        kinds = [item["kind"] for item in k9ops.json("inspect", "workers")["processes"]]
        assert kinds.count("scheduler") >= 3
    (run,) = find_scheduled(k9ops)
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT missed FROM k9ops.schedule WHERE name = 'lock_schedules'").fetchone()
    assert row == (AWAY_DAYS - 1,)
    assert run["sends"] == 0  # a worker's relay sends it


def test_scheduler_killed_and_started_five_times_within_a_minute_makes_one_run(
    k9ops: Command, database_url: str
) -> None:
    set_back(database_url)
    for _ in range(5):
        with k9ops.scheduler() as scheduler:
            os.killpg(scheduler.pid, signal.SIGKILL)
    assert len(find_scheduled(k9ops)) == 1
    slots = [run["slot"] for job in ("relay_outbox", "rescue_runs") for run in find_scheduled(k9ops, job)]
    assert len(slots) == 2 * len(set(slots))


def test_scheduler_needs_no_redis(k9ops: Command, database_url: str) -> None:
    set_back(database_url)
    k9ops.environment["REDIS_URL"] = "redis://:hunter2@127.0.0.1:1"
    with k9ops.scheduler() as scheduler:
        assert scheduler.exit_code() is None
        assert len(find_scheduled(k9ops)) == 1
    assert "hunter2" not in k9ops.log("scheduler")


def test_scheduler_outlives_an_absent_database(k9ops: Command) -> None:
    k9ops.environment["DATABASE_URL"] = "postgresql://k9:hunter2@127.0.0.1:1/k9"
    with k9ops.scheduler(until="ledger.unreachable") as scheduler:
        assert scheduler.exit_code() is None
    assert "Traceback" not in k9ops.log("scheduler")
    assert "hunter2" not in k9ops.log("scheduler")


def test_scheduler_outlives_missing_tables(empty_k9ops: Command) -> None:
    with empty_k9ops.scheduler(until="ledger.unreachable") as scheduler:
        assert scheduler.exit_code() is None


def test_scheduler_ends_with_0_when_asked_to(k9ops: Command) -> None:
    with k9ops.scheduler() as scheduler:
        scheduler.stop()
        assert scheduler.exit_code() == 0
    assert "scheduler.stopped" in k9ops.log("scheduler")
    assert k9ops.json("inspect", "workers")["processes"] == []


def test_scheduler_says_which_setting_is_wrong(k9ops: Command) -> None:
    k9ops.environment["SCHEDULE_AUTO_LOCK_HOUR"] = "25"
    with k9ops.scheduler() as scheduler:
        assert scheduler.exit_code() == 1
    assert "SCHEDULE_AUTO_LOCK_HOUR = '25'" in k9ops.log("scheduler")
    assert "Traceback" not in k9ops.log("scheduler")


def test_slot_is_run_by_a_worker(empty_k9ops: Command, database_url: str) -> None:
    empty_k9ops("db", "upgrade")
    empty_k9ops("db", "seed")
    set_back(database_url)
    with empty_k9ops.worker(), empty_k9ops.scheduler():
        (queued,) = find_scheduled(empty_k9ops)
        run = empty_k9ops.json("schedule", "run-now", "lock_schedules", "--slot", queued["slot"])
        assert not run["is_new"]
        wait_until_ended(empty_k9ops, queued["id"])
    ended = empty_k9ops.json("runs", "show", queued["id"])["run"]
    assert (ended["state"], ended["path"]) == ("succeeded", "worker")
    assert ended["evidence"]["locked"] > 0


def wait_until_ended(command: Command, run_id: str) -> None:
    wait_for(lambda: command.json("runs", "show", run_id)["run"]["finished_at"])
