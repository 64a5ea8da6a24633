"""A day minute by minute: scheduler, worker and Redis are gone for five minutes each, over slots that matter."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import redis
from sqlalchemy import Engine
from tests.processes import wait_for, worker_process

from k9ops.config.settings import Settings
from k9ops.db.backup_settings import BackupSettings
from k9ops.db.sample import seed
from k9ops.embedded.process import find_free_port
from k9ops.embedded.valkey import wheel_binary
from k9ops.ledger.requests import list_runs
from k9ops.ledger.slots import read_schedule_states
from k9ops.periodic.dispatcher import dispatch_due_slots
from k9ops.periodic.timetable import build_timetable, find_slots

MINUTE = timedelta(minutes=1)
FIRST_MINUTE = 1
SCHEDULER_AWAY = range(2 * 60, 2 * 60 + 5)  # the backup at 02:00
REDIS_AWAY = range(3 * 60 + 28, 3 * 60 + 33)  # the pruning at 03:30
WORKER_AWAY = range(23 * 60 + 57, 24 * 60 + 2)  # the lock at 23:59
WISHES = BackupSettings(auto_backup_enabled=True, backup_frequency="DAILY", backup_hour=2)


@pytest.fixture
def environment(database_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "K9OPS_BACKUP_DIR": f"{tmp_path}/backups",
        "K9OPS_RELAY_INTERVAL_S": "0.1",
        "K9OPS_LEASE_S": "3",
        "K9OPS_RESEND_AFTER_S": "1",
        "K9OPS_CONNECT_TIMEOUT_S": "1",
    }


def test_every_slot_of_the_day_has_its_run(
    engine: Engine, settings: Settings, database_url: str, environment: dict[str, str], tmp_path: Path
) -> None:
    import k9ops.actors

    # A day to come, for a run's latest start is compared with PostgreSQL's clock; a Monday, for the clean-up.
    midnight = datetime(2036, 11, 24, tzinfo=settings.zone)
    assert midnight.weekday() == 0
    seed(engine, "B", today=midnight.date())
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE backup_settings SET auto_backup_enabled = true, backup_frequency = 'DAILY', backup_hour = 2"
        )
    server = Redis(tmp_path)
    with ExitStack() as stack:
        stack.callback(server.kill)
        server.start()
        variables = {**environment, "REDIS_URL": server.url}
        worker = ExitStack()
        stack.callback(worker.close)
        process = worker.enter_context(
            worker_process("k9ops.actors", variables, log=tmp_path / "worker.log", threads=2)
        )
        for minute in range(FIRST_MINUTE, 24 * 60 + 10):
            if minute == REDIS_AWAY.start:
                server.kill()
            if minute == REDIS_AWAY.stop:
                server.start()
            if minute == WORKER_AWAY.start:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if minute == WORKER_AWAY.stop:
                worker.enter_context(worker_process("k9ops.actors", variables, log=tmp_path / "worker.log", threads=2))
            if minute not in SCHEDULER_AWAY:
                now = midnight + minute * MINUTE + timedelta(milliseconds=3)
                dispatch_due_slots(engine, k9ops.actors.broker, settings, now=now)
        wait_until_all_ended(engine)

    runs = [run for run in list_runs(engine, limit=10_000) if run.trigger == "schedule"]
    start, end = midnight + FIRST_MINUTE * MINUTE, midnight + timedelta(hours=24)
    for schedule in build_timetable(settings, WISHES):
        assert schedule.cron is not None
        slots = find_slots(schedule.cron, settings.zone, after=start, until=end)
        found = Counter(run.slot for run in runs if run.job == schedule.job and run.slot and start < run.slot <= end)
        assert found == Counter(slots), schedule.name
    assert {(run.job, run.state) for run in runs if run.state not in ("succeeded", "skipped")} == set()
    assert {state.missed for state in read_schedule_states(engine).values()} == {0}
    states = Counter(run.job for run in runs)
    assert (states["lock_schedules"], states["create_backup"], states["clean_notifications"]) == (1, 1, 1)
    locked = next(run for run in runs if run.job == "lock_schedules")
    assert locked.evidence is not None
    assert locked.evidence["before"] == f"{midnight:%Y-%m-%d}"


class Redis:
    """A server that keeps its port and its data over being killed."""

    def __init__(self, folder: Path) -> None:
        self._port = find_free_port()
        self._command = [str(wheel_binary()), "--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._command += ["--appendonly", "yes", "--save", ""]
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        with redis.Redis.from_url(self.url) as client:
            wait_for(lambda: answers(client))

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def wait_until_all_ended(engine: Engine) -> None:
    wait_for(lambda: not list_runs(engine, states=("queued", "running", "retrying"), limit=1), deadline_s=120)
