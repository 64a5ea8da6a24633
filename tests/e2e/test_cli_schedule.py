from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from tests.e2e.conftest import Command

RIYADH = ZoneInfo("Asia/Riyadh")


def find_schedule(command: Command, name: str) -> dict[str, Any]:
    schedules = command.json("schedule", "list")["schedules"]
    return next(item for item in schedules if item["name"] == name)


def set_back(database_url: str, name: str, days: int) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO k9ops.schedule (name, dispatched_until) VALUES (%s, now() - make_interval(days => %s))",
            (name, days),
        )


def test_schedule_list_shows_when_each_is_due(k9ops: Command) -> None:
    done = k9ops("schedule", "list")
    assert "No scheduler has run on this database yet" in done.stderr
    lock = find_schedule(k9ops, "lock_schedules")
    local = datetime.fromisoformat(lock["next_slot"]).astimezone(RIYADH)
    assert (local.hour, local.minute) == (23, 59)
    assert find_schedule(k9ops, "create_backup")["next_slot"] is None
    assert "switched off" in done.stdout


def test_schedule_list_follows_the_settings(k9ops: Command) -> None:
    k9ops.environment |= {"SCHEDULE_AUTO_LOCK_HOUR": "1", "SCHEDULE_AUTO_LOCK_MINUTE": "5", "K9OPS_TIMEZONE": "UTC"}
    slot = datetime.fromisoformat(find_schedule(k9ops, "lock_schedules")["next_slot"])
    assert (slot.hour, slot.minute) == (1, 5)


def test_paused_schedule_makes_no_run_and_goes_on_when_resumed(k9ops: Command, database_url: str) -> None:
    set_back(database_url, "lock_schedules", days=3)
    set_back(database_url, "prune_runs", days=3)
    assert "lock_schedules is paused." in k9ops("schedule", "pause", "lock_schedules").stdout
    assert "was paused already" in k9ops("schedule", "pause", "lock_schedules").stdout
    assert "paused by" in k9ops("schedule", "list").stdout
    with k9ops.scheduler():
        paused, pruned = find_schedule(k9ops, "lock_schedules"), find_schedule(k9ops, "prune_runs")
        assert "lock_schedules (by" in k9ops("check", "--timeout", "0", code=1).stdout
    assert (paused["last_run"], paused["missed"]) == (None, 3)
    assert (pruned["last_run"]["trigger"], pruned["missed"]) == ("schedule", 2)
    document = k9ops.json("schedule", "resume", "lock_schedules")["schedule"]
    assert not document["is_paused"]
    assert "was not paused" in k9ops("schedule", "resume", "lock_schedules").stdout
    assert datetime.now(UTC) - datetime.fromisoformat(document["dispatched_until"]) < timedelta(minutes=5)


def test_schedule_list_finds_the_last_run_behind_many_others(k9ops: Command, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO k9ops.run (id, job, queue, trigger, slot, created_at)"
            " VALUES (gen_random_uuid(), 'canary', 'k9_tasks', 'schedule', now(), now() - interval '30 minutes')"
        )
        connection.execute(
            "INSERT INTO k9ops.run (id, job, queue, trigger)"
            " SELECT gen_random_uuid(), 'canary', 'k9_tasks', 'cli' FROM generate_series(1, 30)"
        )
    assert find_schedule(k9ops, "canary")["last_run"]["trigger"] == "schedule"


def test_run_now_is_one_run_for_a_slot(k9ops: Command) -> None:
    yesterday = f"{datetime.now(RIYADH) - timedelta(days=1):%Y-%m-%d}T23:59"
    first = k9ops.json("schedule", "run-now", "lock_schedules", "--slot", yesterday)
    assert (first["is_new"], first["run"]["slot"]) == (
        True,
        datetime.fromisoformat(f"{yesterday}:00+03:00").astimezone(UTC).isoformat(),
    )
    again = k9ops.json("schedule", "run-now", "lock_schedules", "--slot", yesterday)
    assert (again["is_new"], again["run"]["id"]) == (False, first["run"]["id"])
    free = k9ops.json("schedule", "run-now", "lock_schedules")
    assert (free["is_new"], free["run"]["slot"]) == (True, None)


def test_run_now_refuses_what_cannot_be(k9ops: Command) -> None:
    tomorrow = f"{datetime.now(RIYADH) + timedelta(days=1):%Y-%m-%d}T23:59"
    assert "future" in k9ops("schedule", "run-now", "lock_schedules", "--slot", tomorrow, code=2).stderr
    assert "has no parameter slot" in k9ops("schedule", "run-now", "canary", "--slot", "2026-01-01", code=2).stderr
    assert "it must be a moment" in k9ops("schedule", "run-now", "lock_schedules", "--slot", "x", code=2).stderr
    assert "The schedules are: lock_schedules" in k9ops("schedule", "pause", "nix", code=2).stderr


def test_check_fails_without_a_scheduler_and_passes_with_one(k9ops: Command, database_url: str) -> None:
    assert "No scheduler has run" in k9ops("check", "--timeout", "0", code=1).stdout
    with k9ops.scheduler():
        assert "ok   scheduler" in k9ops("check", "--timeout", "0", code=1).stdout
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE k9ops.schedule SET dispatched_until = dispatched_until - interval '10 minutes'")
    assert "No scheduler has rung for 10 min" in k9ops("check", "--timeout", "0", code=1).stdout


def test_dry_run_lists_what_would_be_locked(empty_k9ops: Command) -> None:
    empty_k9ops("db", "upgrade")
    empty_k9ops("db", "seed")
    first = empty_k9ops.json("run", "lock_schedules", "--dry-run")["run"]
    assert first["state"] == "skipped"
    assert first["evidence"]["open"] == len(first["evidence"]["schedules"]) > 0
    real = empty_k9ops.json("run", "lock_schedules")["run"]
    assert (real["state"], real["evidence"]["locked"]) == ("succeeded", first["evidence"]["open"])
    assert empty_k9ops.json("run", "lock_schedules")["run"]["evidence"]["locked"] == 0
    assert "has no parameter 'dry_run'" in empty_k9ops("run", "canary", "--dry-run", code=2).stderr
