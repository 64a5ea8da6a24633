from __future__ import annotations

import json
import os
import pwd
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from tests.e2e.conftest import Command, wait_for

ME = pwd.getpwuid(os.getuid()).pw_name


@contextmanager
def held_table(database_url: str) -> Iterator[None]:
    """Hold a table, so that a backup waits for it."""
    with psycopg.connect(database_url) as connection:
        connection.execute("LOCK TABLE public.notification IN ACCESS EXCLUSIVE MODE")
        yield


def read_states(database_url: str) -> list[tuple[str, str]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute("SELECT job, state FROM k9ops.run ORDER BY created_at").fetchall()


def test_enqueue_waits_for_a_worker_and_shows_the_outcome(k9ops: Command) -> None:
    with k9ops.worker():
        done = k9ops("enqueue", "canary", "--wait", "--timeout", "30")
        assert "canary  succeeded  A worker on" in done.stdout
        document = k9ops.json("enqueue", "create_backup", "--param", "only_if_enabled=false", "--wait")
    run = document["run"]
    assert (run["state"], run["trigger"], run["requested_by"], run["path"]) == ("succeeded", "cli", ME, "worker")
    assert run["params"] == {"only_if_enabled": False}
    assert len(run["evidence"]["sha256"]) == 64
    assert [item["job"] for item in document["follow_ups"]] == ["verify_backup"]


def test_enqueue_fails_when_no_worker_takes_the_run_in_time(k9ops: Command) -> None:
    done = k9ops("enqueue", "canary", "--timeout", "0", code=1)
    assert "It is queued after 0 s" in done.stderr
    assert k9ops.json("runs", "list", "--state", "queued")["runs"][0]["job"] == "canary"


def test_enqueue_fails_when_the_run_fails(k9ops: Command) -> None:
    with k9ops.worker():
        document = k9ops.json("enqueue", "verify_backup", "-p", "backup_id=20260101T000000Z-00000000", "--wait", code=1)
    assert document["run"]["state"] == "failed"
    assert document["run"]["error_class"] == "BackupNotFound"


def test_enqueue_of_a_slot_that_has_a_run_sends_nothing(k9ops: Command) -> None:
    slot = ("--param", "slot=2026-11-24T02:00:00+03:00")
    first = k9ops.json("enqueue", "create_backup", *slot)
    second = k9ops.json("enqueue", "create_backup", *slot)
    assert (first["is_new"], second["is_new"]) == (True, False)
    assert first["run"]["id"] == second["run"]["id"]


def test_run_executes_the_job_in_this_process(k9ops: Command) -> None:
    document = k9ops.json("run", "canary", REDIS_URL="redis://127.0.0.1:1")
    assert (document["run"]["state"], document["run"]["path"]) == ("succeeded", "inline")


def test_run_fails_when_the_job_fails(k9ops: Command) -> None:
    done = k9ops("run", "verify_backup", "--param", "backup_id=20260101T000000Z-00000000", code=1)
    assert "verify_backup  failed  There is no backup 20260101T000000Z-00000000." in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_puts_the_run_back_when_it_is_interrupted(
    k9ops: Command, database_url: str, number: signal.Signals
) -> None:
    with held_table(database_url), k9ops.started("run", "create_backup", "--param", "only_if_enabled=false") as process:
        wait_for(lambda: read_states(database_url) == [("create_backup", "running")])
        wait_for(lambda: list((k9ops.folder / "backups").glob(".*.partial")))
        process.send_signal(number)
        process.wait(timeout=8)
    output = k9ops.output()
    assert process.returncode == 130, output
    assert "is back in the queue" in output
    assert "Traceback" not in output
    assert read_states(database_url) == [("create_backup", "retrying")]
    assert list((k9ops.folder / "backups").iterdir()) == []


def test_runs_list_filters(k9ops: Command) -> None:
    k9ops("run", "canary")
    k9ops("run", "apply_retention")
    k9ops("enqueue", "canary")

    def listed(*options: str) -> list[tuple[str, str]]:
        return [(run["job"], run["state"]) for run in k9ops.json("runs", "list", *options)["runs"]]

    assert listed() == [("canary", "queued"), ("apply_retention", "skipped"), ("canary", "succeeded")]
    assert listed("--job", "apply_retention") == [("apply_retention", "skipped")]
    assert listed("--state", "queued", "--state", "skipped") == [("canary", "queued"), ("apply_retention", "skipped")]
    assert listed("--limit", "1") == [("canary", "queued")]
    assert len(listed("--since", "1h")) == 3
    assert listed("--since", "2999-01-01") == []
    text = k9ops("runs", "list").stdout
    assert "apply_retention" in text
    assert ME in text
    assert k9ops("runs", "list", "--job", "nothing").stdout == "No runs.\n"


def test_runs_show_tells_the_chain_and_the_attempts(k9ops: Command) -> None:
    k9ops("backup", "create")
    by_job = {run["job"]: run for run in k9ops.json("runs", "list")["runs"]}
    verification = k9ops.json("runs", "show", by_job["verify_backup"]["id"][:10])
    assert verification["parent"]["id"] == by_job["create_backup"]["id"]
    assert [run["id"] for run in verification["follow_ups"]] == [by_job["apply_retention"]["id"]]
    text = k9ops("runs", "show", by_job["verify_backup"]["id"]).stdout
    lines = [line.split() for line in text.partition("\nchain\n")[2].splitlines()]
    assert [line[:3] for line in lines[:2]] == [
        ["create_backup", by_job["create_backup"]["id"][:8], "succeeded"],
        ["verify_backup", by_job["verify_backup"]["id"][:8], "succeeded"],
    ]
    assert "rows compared" in text


def test_runs_cancel_and_retry_change_the_state(k9ops: Command) -> None:
    run_id = k9ops.json("enqueue", "canary")["run"]["id"]
    assert "is cancelled" in k9ops("runs", "cancel", run_id[:8]).stdout
    assert "it cannot be cancelled" in k9ops("runs", "cancel", run_id, code=2).stderr
    assert "is queued again" in k9ops("runs", "retry", run_id).stdout
    shown = k9ops.json("runs", "show", run_id)["run"]
    assert shown["state"] == "queued"
    assert [item["outcome"] for item in shown["history"]] == ["cancelled"]
    assert "it cannot be retried" in k9ops("runs", "retry", run_id, code=2).stderr
    assert "earlier attempts" in k9ops("runs", "show", run_id).stdout


def test_runs_cancel_stops_a_run_that_a_worker_is_at(k9ops: Command, database_url: str) -> None:
    with k9ops.worker(), held_table(database_url):
        run_id = k9ops.json("enqueue", "create_backup", "--param", "only_if_enabled=false")["run"]["id"]
        wait_for(lambda: read_states(database_url) == [("create_backup", "running")])
        assert "its worker was asked to stop" in k9ops("runs", "cancel", run_id).stdout
        wait_for(lambda: read_states(database_url) == [("create_backup", "cancelled")])


def test_standard_output_is_one_document_even_when_the_log_is_loud(k9ops: Command) -> None:
    done = k9ops("run", "canary", "--json", K9OPS_LOG_LEVEL="debug")
    assert json.loads(done.stdout)["run"]["state"] == "succeeded"
    assert "run.finished" in done.stderr
