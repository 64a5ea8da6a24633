from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from k9ops.broker import maintenance
from k9ops.config.settings import Settings
from k9ops.errors import RunInterrupted
from k9ops.ledger.processes import list_processes, report_process
from k9ops.ledger.pruning import prune_runs
from k9ops.outcome import Execution

NOW = datetime.now(UTC)


def add_run(engine: Engine, job: str, state: str, *, days: float, queue: str = "backups") -> uuid.UUID:
    run_id = uuid.uuid4()
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO k9ops.run (id, job, queue, state, trigger, evidence, lease_owner, created_at, finished_at)"
                " VALUES (:id, :job, :queue, :state, 'send', '{}', CASE WHEN :state = 'running' THEN 'x' END, :at,"
                " CASE WHEN :state IN ('queued', 'running', 'retrying') THEN NULL ELSE CAST(:at AS timestamptz) END)"
            ),
            {"id": run_id, "job": job, "queue": queue, "state": state, "at": NOW - timedelta(days=days)},
        )
    return run_id


def find_ids(engine: Engine) -> set[uuid.UUID]:
    with engine.begin() as connection:
        return set(connection.scalars(text("SELECT id FROM k9ops.run")))


def test_pruning_keeps_what_is_young_open_or_the_last_success(engine: Engine, settings: Settings) -> None:
    kept = {
        add_run(engine, "create_backup", "succeeded", days=200),  # its last success
        add_run(engine, "create_backup", "queued", days=300),
        add_run(engine, "create_backup", "running", days=300),
        add_run(engine, "create_backup", "retrying", days=300),
        add_run(engine, "create_backup", "failed", days=89),
        add_run(engine, "verify_backup", "succeeded", days=1),
        add_run(engine, "create_backup", "skipped", days=50, queue="k9_tasks"),
        add_run(engine, "canary", "succeeded", days=2, queue="k9_tasks"),
        add_run(engine, "rescue_runs", "skipped", days=2, queue="k9_tasks"),
        add_run(engine, "canary", "failed", days=50, queue="k9_tasks"),
    }
    for job, state, days, queue in (
        ("create_backup", "succeeded", 201, "backups"),
        ("create_backup", "failed", 91, "backups"),
        ("create_backup", "cancelled", 91, "backups"),
        ("verify_backup", "succeeded", 91, "backups"),
        ("verify_backup", "partial", 91, "backups"),
        ("canary", "succeeded", 4, "k9_tasks"),
        ("rescue_runs", "skipped", 4, "k9_tasks"),
        ("canary", "expired", 91, "k9_tasks"),
    ):
        add_run(engine, job, state, days=days, queue=queue)
    outcome = maintenance.prune(settings, engine, execution=Execution())
    assert find_ids(engine) == kept
    assert (outcome.state, outcome.evidence["deleted"]) == ("succeeded", 8)
    assert maintenance.prune(settings, engine, execution=Execution()).state == "skipped"


def test_pruning_stops_between_batches_and_goes_on(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("k9ops.ledger.pruning._BATCH_ROWS", 2)
    for _ in range(7):
        add_run(engine, "x", "failed", days=100)
    calls = iter([None, None, RunInterrupted("Stop.", reason="shutdown")])

    def check_stop() -> None:
        error = next(calls)
        if error is not None:
            raise error

    values = {"before": NOW - timedelta(days=90), "routine_before": NOW, "routine_jobs": ["canary"]}
    with pytest.raises(RunInterrupted):
        prune_runs(engine, **values, check_stop=check_stop)  # type: ignore[arg-type]
    assert len(find_ids(engine)) == 3
    assert prune_runs(engine, **values) == 3  # type: ignore[arg-type]


def test_processes_report_fall_silent_and_are_forgotten(engine: Engine, settings: Settings) -> None:
    for name in ("a", "b", "a"):
        report_process(engine, name, kind="worker", queues=["backups"], threads=2, silent_after_s=30)
    assert [(item.name, item.is_silent) for item in list_processes(engine)] == [("a", False), ("b", False)]
    with engine.begin() as connection:
        connection.execute(text("UPDATE k9ops.process SET seen_at = now() - interval '31 s' WHERE name = 'a'"))
        connection.execute(text("UPDATE k9ops.process SET seen_at = now() - interval '2 days' WHERE name = 'b'"))
    assert all(item.is_silent for item in list_processes(engine))
    maintenance.prune(settings, engine, execution=Execution())
    assert [item.name for item in list_processes(engine)] == ["a"]
    report_process(engine, "a", kind="worker", queues=["backups"], threads=2, silent_after_s=30)
    assert not list_processes(engine)[0].is_silent
