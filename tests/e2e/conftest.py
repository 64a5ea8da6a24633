"""The command as a process of its own, on servers of the session and folders of the test."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from k9ops.cli.services import SchedulerPlan, ServicePlan, ServiceProcess, WorkerPlan

_LIMIT_S = 180
_PATHS = ("PATH", "HOME", "LANG", "PYTHONPATH", "TMPDIR")


class Command:
    """Calls `python -m k9ops` in a folder, with nothing of the environment but what a test names."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.folder = folder
        self.environment = {name: os.environ[name] for name in _PATHS if name in os.environ} | variables

    def __call__(self, *arguments: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end and check its exit code, and that it shows no traceback."""
        done = subprocess.run(
            [sys.executable, "-m", "k9ops", *arguments],
            cwd=self.folder,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
        assert "Traceback" not in done.stdout + done.stderr
        assert done.returncode == code, f"{arguments} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments: str, code: int = 0, **variables: str) -> Any:
        """Run a command with `--json` and return its document."""
        return json.loads(self(*arguments, "--json", code=code, **variables).stdout)

    def answered(self, *arguments: str, answers: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command whose standard input is a terminal, on which a person types lines."""
        mine, theirs = pty.openpty()
        try:
            os.write(mine, answers.encode())
            done = subprocess.run(
                [sys.executable, "-m", "k9ops", *arguments],
                cwd=self.folder,
                env=self.environment,
                stdin=theirs,
                capture_output=True,
                text=True,
                timeout=_LIMIT_S,
                check=False,
            )
        finally:
            os.close(theirs)
            os.close(mine)
        assert "Traceback" not in done.stdout + done.stderr
        assert done.returncode == code, f"{arguments} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    @contextmanager
    def started(self, *arguments: str, into: str = "output.log", **variables: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command during the block, at most; `output` returns what it writes, unless it goes elsewhere."""
        with (
            (self.folder / into).open("wb") as log,
            subprocess.Popen(
                [sys.executable, "-u", "-m", "k9ops", *arguments],
                cwd=self.folder,
                env={**self.environment, **variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    def output(self) -> str:
        """Return what the started command has written so far."""
        return (self.folder / "output.log").read_text(encoding="utf-8")

    @contextmanager
    def worker(self) -> Iterator[ServiceProcess]:
        """Run a worker for all queues during the block."""
        queues = ("backups", "k9_tasks", "notifications", "reports", "schedules")
        with self._service(WorkerPlan("worker", queues, threads=2)) as worker:
            yield worker

    @contextmanager
    def scheduler(self, name: str = "scheduler", *, until: str = "scheduler.ready") -> Iterator[ServiceProcess]:
        """Run a scheduler during the block; by default its first tick is decided when the block begins."""
        with self._service(SchedulerPlan(name)) as scheduler:
            wait_for(lambda: until in self.log(name) or scheduler.exit_code() is not None)
            yield scheduler

    def log(self, name: str) -> str:
        """Return what a worker or scheduler has written so far."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8")

    @contextmanager
    def _service(self, plan: ServicePlan) -> Iterator[ServiceProcess]:
        with (self.folder / f"{plan.name}.log").open("wb") as log:
            process = ServiceProcess(plan, environment=self.environment, cwd=self.folder, output=log)
            try:
                yield process
            finally:
                process.stop()


def wait_for(condition: Callable[[], Any]) -> Any:
    """Return the first true value of a condition."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        threading.Event().wait(0.05)
    raise AssertionError("it did not happen in time")


@pytest.fixture
def bare_k9ops(tmp_path: Path) -> Iterator[Command]:
    """The command without any setting."""
    yield Command(tmp_path, {})
    data = tmp_path / ".k9ops" / "postgres"
    if data.is_symlink():
        shutil.rmtree(data.readlink())


@pytest.fixture
def empty_k9ops(tmp_path: Path, database_url: str, redis_url: str) -> Command:
    """The command with an empty database and an empty Redis."""
    variables = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "K9OPS_BACKUP_DIR": str(tmp_path / "backups"),
        "K9OPS_REPORTS_DIR": str(tmp_path / "reports"),
    }
    return Command(tmp_path, {**variables, "K9OPS_RELAY_INTERVAL_S": "0.1", "K9OPS_SEND_TIMEOUT_S": "30"})


@pytest.fixture
def k9ops(empty_k9ops: Command, database_url: str) -> Command:
    """The command with the tables of k9ops, and of the application only the one that a test may lock."""
    empty_k9ops("db", "upgrade")
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE public.notification (id int PRIMARY KEY, message text)")
        connection.execute("INSERT INTO public.notification SELECT n, 'كلب ' || n FROM generate_series(1, 1000) n")
    return empty_k9ops


@pytest.fixture
def backup(k9ops: Command) -> dict[str, Any]:
    """A backup, made and verified."""
    k9ops("backup", "create")
    (found,) = k9ops.json("backup", "list")["backups"]
    return dict(found)
