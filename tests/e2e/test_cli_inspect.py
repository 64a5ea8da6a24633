from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import psycopg
import redis
from tests.e2e.conftest import Command, wait_for


def find_queue(command: Command, name: str) -> dict[str, Any]:
    queues = command.json("inspect", "queues")["queues"]
    return next(item for item in queues if item["queue"] == name)


def test_inspect_queues_counts_messages_and_runs(k9ops: Command) -> None:
    for _ in range(3):
        k9ops("enqueue", "canary")
    queue = find_queue(k9ops, "k9_tasks")
    assert (queue["waiting"], queue["fetched"], queue["dead"]) == (3, 0, 0)
    assert (queue["runs"]["due"], queue["runs"]["running"], queue["is_served"]) == (3, 0, False)
    assert queue["runs"]["oldest_due_s"] > 0
    assert "k9_tasks" in k9ops("inspect", "queues").stdout
    with k9ops.worker():
        wait_for(lambda: find_queue(k9ops, "k9_tasks")["runs"]["due"] == 0)
        assert find_queue(k9ops, "k9_tasks")["is_served"]


def test_inspect_queues_shows_runs_in_a_queue_that_was_renamed(k9ops: Command) -> None:
    k9ops("enqueue", "canary")
    k9ops.environment["K9OPS_DEFAULT_QUEUE"] = "renamed"
    queue = find_queue(k9ops, "k9_tasks")
    assert (queue["waiting"], queue["runs"]["due"], queue["is_served"]) == (1, 1, False)
    assert find_queue(k9ops, "renamed")["waiting"] == 0


def test_inspect_workers_lists_those_that_report(k9ops: Command, database_url: str) -> None:
    assert "No worker or scheduler" in k9ops("inspect", "workers", "--here", code=1).stdout
    with k9ops.worker() as worker, k9ops.scheduler():
        found = wait_for(lambda: [*k9ops.json("inspect", "workers")["processes"], None][1::-1])
        assert {item["kind"] for item in found if item} == {"worker", "scheduler"}
        (one,) = [item for item in found if item and item["kind"] == "worker"]
        assert one["queues"] == ["backups", "k9_tasks", "notifications", "reports", "schedules"]
        assert (one["threads"], one["is_silent"]) == (2, False)
        assert one["pid"] != worker.pid
        k9ops("inspect", "workers", "--here")
    assert k9ops.json("inspect", "workers")["processes"] == []
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO k9ops.process (name, kind, host, pid, version, queues, threads, silent_after_s, seen_at)"
            " VALUES ('x', 'worker', 'away', 1, '0', '{k9_tasks}', 1, 30, now() - interval '1 minute')"
        )
    assert "fail" in k9ops("inspect", "workers").stdout
    assert not find_queue(k9ops, "k9_tasks")["is_served"]


def test_inspect_active_shows_a_run_at_work(k9ops: Command, database_url: str) -> None:
    assert "No run is executed now." in k9ops("inspect", "active").stdout
    with k9ops.worker(), psycopg.connect(database_url) as blocker:
        blocker.execute("LOCK TABLE public.notification IN ACCESS EXCLUSIVE MODE")
        k9ops("enqueue", "create_backup", "--param", "only_if_enabled=false")
        (run,) = wait_for(lambda: k9ops.json("inspect", "active")["runs"])
        assert (run["job"], run["state"]) == ("create_backup", "running")
        assert run["id"][:8] in k9ops("inspect", "active").stdout
        (worker,) = k9ops.json("inspect", "workers")["processes"]
        assert worker["runs"] == 1
        assert run["lease_owner"].startswith(worker["name"])


def test_inspect_registered_and_stats(k9ops: Command) -> None:
    jobs = {item["job"]: item for item in k9ops.json("inspect", "registered")["jobs"]}
    assert jobs["create_backup"]["queue"] == "backups"
    assert "lock_schedules" in k9ops("inspect", "registered").stdout
    k9ops("run", "canary")
    (found,) = k9ops.json("inspect", "stats", "--since", "1h")["jobs"]
    assert (found["job"], found["runs"], found["succeeded"], found["open"]) == ("canary", 1, 1, 0)
    assert found["median_s"] >= 0
    assert "canary" in k9ops("inspect", "stats").stdout


def test_inspect_dead_lists_failed_runs_and_dead_letters(k9ops: Command, redis_url: str) -> None:
    assert "No run has failed." in k9ops("inspect", "dead").stdout
    k9ops("run", "verify_backup", "--param", "backup_id=20260101T000000Z-00000000", code=1)
    message = {"actor_name": "canary", "queue_name": "k9_tasks"}
    with redis.Redis.from_url(f"{redis_url}/1") as client:
        client.zadd("dramatiq:k9_tasks.XQ", {"5" * 36: 1_790_000_000_000})
        client.hset("dramatiq:k9_tasks.XQ.msgs", "5" * 36, json.dumps(message))
    document = k9ops.json("inspect", "dead")
    assert [run["job"] for run in document["runs"]] == ["verify_backup"]
    assert [(item["job"], item["queue"]) for item in document["dead_letters"]] == [("canary", "k9_tasks")]
    assert "k9ops runs retry" in k9ops("inspect", "dead").stderr


def test_inspect_says_when_redis_is_away(k9ops: Command) -> None:
    away = {"REDIS_URL": "redis://127.0.0.1:1"}
    assert "Redis does not answer" in k9ops("inspect", "queues", code=3, **away).stderr
    k9ops("inspect", "active", **away)
    k9ops("inspect", "stats", **away)


def test_logs_reads_what_a_worker_wrote(k9ops: Command) -> None:
    k9ops.environment["K9OPS_LOG_FORMAT"] = "json"
    with k9ops.worker():
        run = k9ops.json("enqueue", "canary", "--timeout", "30")["run"]
    log = str(k9ops.folder / "worker.log")
    lines = k9ops("logs", log, "--run", run["id"][:6]).stdout.splitlines()
    assert [line.split()[3] for line in lines if "run." in line] == ["run.started", "run.finished"]
    raw = k9ops("logs", log, "--job", "canary", "--raw").stdout.splitlines()
    assert all(json.loads(line)["job"] == "canary" for line in raw)
    assert k9ops("logs", log, "--level", "error").stdout == ""
    assert "worker.started" in k9ops("logs", log).stdout


def test_logs_ends_quietly_when_its_reader_has_enough(k9ops: Command) -> None:
    path = k9ops.folder / "many.log"
    path.write_text('{"event": "run.started", "level": "info"}\n' * 50_000, encoding="utf-8")
    command = f"{sys.executable} -m k9ops logs {path} | head -1"
    done = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", command],
        env=k9ops.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.count("\n"), done.stderr, done.returncode) == (1, "", 0)


def test_logs_needs_something_to_read(k9ops: Command) -> None:
    assert "No such file" in k9ops("logs", "nowhere.log", code=1).stderr


def test_queue_is_paused_with_a_reason_that_inspect_shows(k9ops: Command) -> None:
    k9ops("queue", "pause", "reports", "--reason", "The printer is moved.")
    assert k9ops.json("queue", "pause", "reports")["is_changed"] is False
    assert find_queue(k9ops, "reports")["pause"]["reason"] == "The printer is moved."
    assert "because: The printer is moved." in k9ops("inspect", "queues").stdout
    assert k9ops.json("queue", "resume", "reports") == {"queue": "reports", "is_changed": True, "pause": None}
    assert "no queue 'nothing'" in k9ops("queue", "pause", "nothing", code=2).stderr
