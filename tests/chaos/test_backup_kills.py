"""A worker killed at each point of a backup: after a restart every run has ended once, and nothing is left."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from pathlib import Path

import psycopg
import pytest
from tests.chaos.killing_worker import POINTS
from tests.processes import DEADLINE_S, wait_for, worker_process

from k9ops.broker.build import K9opsRedisBroker
from k9ops.broker.enqueue import enqueue_run
from k9ops.config.settings import get_settings
from k9ops.db.engine import get_engine
from k9ops.db.sample import seed
from k9ops.ledger.requests import list_runs

CHAIN = ["apply_retention", "create_backup", "verify_backup"]


@pytest.mark.parametrize("point", POINTS)
def test_backup_ends_once_when_its_worker_is_killed(
    point: str, broker: K9opsRedisBroker, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    from k9ops.actors import create_backup

    engine, settings = get_engine(), get_settings()
    seed(engine, "B", today=date(2026, 11, 24))
    mark = tmp_path / "killed"
    environment = {"REDIS_URL": redis_url, "KILL_MARK": str(mark), "KILL_POINT": point}
    run_id = enqueue_run(engine, broker, settings, create_backup, {"only_if_enabled": False}).run_id
    with worker_process("tests.chaos.killing_worker", environment) as victim:
        victim.wait(DEADLINE_S)
    assert mark.exists(), "the worker was never killed"

    with worker_process("tests.chaos.killing_worker", environment):

        def ended() -> bool:
            runs = list_runs(engine)
            return len(runs) == len(CHAIN) and all(run.is_final for run in runs)

        wait_for(ended)

    runs = sorted(list_runs(engine), key=lambda run: run.job)
    assert [run.job for run in runs] == CHAIN
    assert {run.state for run in runs} <= {"succeeded", "skipped"}, [(run.job, run.state, run.message) for run in runs]
    assert sum(run.deaths for run in runs) == (0 if point == "after the backup's outcome" else 1)
    assert runs[1].id == run_id
    check_folder(settings.backup_dir)
    with psycopg.connect(database_url) as session:
        assert session.execute("SELECT datname FROM pg_database WHERE datname LIKE 'k9ops_scratch%'").fetchall() == []


def check_folder(folder: Path) -> None:
    """One whole backup, verified, and not a file beside it."""
    (archive,) = folder.glob("*.dump")
    backup_id = archive.name.removesuffix(".dump")
    assert sorted(path.name for path in folder.iterdir()) == [
        f"{backup_id}.dump", f"{backup_id}.json", f"{backup_id}.state.json",
    ]  # fmt: skip
    manifest = json.loads((folder / f"{backup_id}.json").read_text())
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == manifest["sha256"]
    assert json.loads((folder / f"{backup_id}.state.json").read_text())["verification"]["state"] == "verified"
