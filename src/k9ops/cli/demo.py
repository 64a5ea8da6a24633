"""`k9ops demo`: the whole service on sample data, from nothing to a restored backup, and back to nothing."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import typer
from sqlalchemy import Engine

from k9ops.broker.build import build_broker
from k9ops.broker.enqueue import enqueue_run
from k9ops.broker.jobs import find_actor
from k9ops.cli.db import GenerationName, GenerationOption
from k9ops.cli.demo_checks import DemoCheck, check_demo, check_processes, check_timetable
from k9ops.cli.demo_dashboard import check_dashboard
from k9ops.cli.demo_timetable import find_scheduled_runs, pretend_absence, start_schedulers, wait_for_schedulers
from k9ops.cli.failures import EXIT_FAILED
from k9ops.cli.follow import find_follow_ups, follow_run
from k9ops.cli.names import load_broker
from k9ops.cli.output import JsonFlag, output_console, print_error, print_json, print_remark, print_text, style_state
from k9ops.cli.progress import show_progress
from k9ops.cli.run_view import print_outcome
from k9ops.cli.servers import make_postgres, make_valkey, without_settings
from k9ops.cli.services import ServiceProcess, WorkerPlan
from k9ops.cli.session import name_here, name_requester, open_settings
from k9ops.config.settings import Settings, load_settings
from k9ops.config.sources import process_environment
from k9ops.db import migrate
from k9ops.db.engine import create_engine_for
from k9ops.db.sample import seed
from k9ops.embedded.places import temporary_folder
from k9ops.errors import K9opsError, PermanentError
from k9ops.ledger.model import Run
from k9ops.process_tree import ProcessId, find_descendants

_RUN_LIMIT_S = 600
_POLL_S = 0.2
_LOG_TAIL_LINES = 20


@dataclass
class _Report:
    """What a demo has shown so far."""

    rows: dict[str, int] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    checks: list[DemoCheck] = field(default_factory=list)
    processes: set[ProcessId] = field(default_factory=set)


def demo(generation: GenerationOption = GenerationName.B, as_json: JsonFlag = False) -> None:
    """Show the service at work on sample data.

    Two schedulers catch up what was missed: past schedules are locked, old notifications go. Then a backup goes
    through the broker and is verified by restoring it, and the dashboard is asked what it says of it.

    Needs no server and no settings: it starts its own and stops them again. The backup stays in
    K9OPS_STATE_DIR/demo until the next demo. Exits 1 when anything is not as it must be.
    """
    settings = open_settings()
    folder = settings.state_dir.absolute() / "demo"
    report = _Report()
    with _only_demo_in(folder):
        try:
            _show_service(settings, folder, generation, report, is_silent=as_json)
        except K9opsError:
            _print_log_tail(folder / "worker.log")
            raise
        finally:
            left = check_processes(report.processes)
        report.checks.append(left)
    is_ok = all(check.is_ok for check in report.checks)
    if as_json:
        print_json(_to_document(report, folder, generation, is_ok=is_ok))
    else:
        _print_end(report, folder, is_ok=is_ok)
    if not is_ok:
        _print_log_tail(folder / "worker.log")
        raise typer.Exit(EXIT_FAILED)


def _show_service(
    settings: Settings, folder: Path, generation: GenerationName, report: _Report, *, is_silent: bool
) -> None:
    with ExitStack() as stack:
        servers_dir = stack.enter_context(temporary_folder())
        _say("Starting PostgreSQL and Valkey", is_silent=is_silent)
        postgres = stack.enter_context(make_postgres(servers_dir))
        valkey = stack.enter_context(make_valkey(servers_dir))
        environment = _make_environment(settings, folder, database_url=postgres.url, redis_url=valkey.url)
        own = load_settings(environment, env_file=folder / ".env").settings
        engine = create_engine_for(own.sqlalchemy_url, own, application_name=f"k9ops demo:{os.getpid()}")
        stack.callback(engine.dispose)
        report.rows = _make_data(engine, own, generation, is_silent=is_silent)
        _say("Starting a worker", is_silent=is_silent)
        worker = _start_worker(stack, environment, folder)
        report.processes = find_descendants()
        crew = _Crew(engine, own, worker, report, is_silent=is_silent)
        crew.run_job("canary")
        _say("\nStarting two schedulers, as if none had run for eight days", is_silent=is_silent)
        pretend_absence(engine, own)
        logs = start_schedulers(stack, environment, folder)
        wait_for_schedulers(logs, crew.wait)
        for run in find_scheduled_runs(engine):
            crew.follow(run.id)
        crew.run_job("create_backup")
        report.processes |= find_descendants()
        report.checks += check_timetable(engine, own)
        report.checks += check_demo(engine, own, report.runs)
        _say("\nStarting the dashboard", is_silent=is_silent)
        made = next((run for run in report.runs if run.job == "create_backup" and run.evidence), None)
        backup_id = made.evidence["backup_id"] if made and made.evidence else None
        report.checks.append(
            check_dashboard(engine, own, backup_id, environment=environment, folder=folder, wait=crew.wait)
        )


def _make_environment(settings: Settings, folder: Path, *, database_url: str, redis_url: str) -> dict[str, str]:
    """Keep the demo away from whatever this environment names: a real database, a real Redis, real backups."""
    return {
        **without_settings(process_environment()),
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "K9OPS_BACKUP_DIR": str(folder / "backups"),
        "K9OPS_REPORTS_DIR": str(folder / "reports"),
        "K9OPS_TIMEZONE": settings.timezone,
        "K9OPS_LOG_FORMAT": "json",
    }


def _make_data(engine: Engine, settings: Settings, generation: GenerationName, *, is_silent: bool) -> dict[str, int]:
    today = datetime.now(settings.zone).date()
    with show_progress("Making sample data", is_silent=is_silent) as display:
        rows = seed(engine, generation.generation, today=today, progress=display.report)
    migrate.upgrade(engine)
    _say(f"Made the tables of generation {generation} with {sum(rows.values()):,} rows", is_silent=is_silent)
    return rows


def _start_worker(stack: ExitStack, environment: dict[str, str], folder: Path) -> ServiceProcess:
    log = stack.enter_context((folder / "worker.log").open("wb"))
    queues = tuple(sorted(load_broker().get_declared_queues()))
    worker = ServiceProcess(WorkerPlan("worker", queues, threads=2), environment=environment, cwd=folder, output=log)
    stack.callback(worker.stop)
    return worker


class _Crew:
    """The worker of the demo, and the runs that are followed to their end."""

    def __init__(
        self, engine: Engine, settings: Settings, worker: ServiceProcess, report: _Report, *, is_silent: bool
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._worker = worker
        self._report = report
        self._is_silent = is_silent

    def run_job(self, job: str) -> None:
        """Send a job through the broker and follow it."""
        broker = build_broker(self._settings)
        actor = find_actor(load_broker(), job)
        asked = enqueue_run(
            self._engine,
            broker,
            self._settings,
            actor,
            {},
            trigger="cli",
            requested_by=name_requester(),
            origin=name_here(),
            fallback="raise",
        )
        broker.close()
        self.follow(asked.run_id)

    def follow(self, run_id: uuid.UUID) -> None:
        """Follow a run and all that it starts."""
        waiting = [run_id]
        while waiting:
            run = follow_run(
                self._engine,
                waiting.pop(0),
                timeout_s=_RUN_LIMIT_S,
                is_silent=self._is_silent,
                check_alive=self._check_alive,
            )
            self._report.runs.append(run)
            if not self._is_silent:
                print_text("")
                print_outcome(run)
            waiting += [item.id for item in find_follow_ups(self._engine, run)]

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait for something that the processes do."""
        ends_at_s = time.monotonic() + _RUN_LIMIT_S
        while not condition():
            self._check_alive()
            if time.monotonic() > ends_at_s:
                raise PermanentError(f"Nothing happened for {_RUN_LIMIT_S} s.")
            time.sleep(_POLL_S)

    def _check_alive(self) -> None:
        self._report.processes |= find_descendants()
        if self._worker.exit_code() is not None:
            raise PermanentError(f"The worker ended with code {self._worker.exit_code()}.")


@contextmanager
def _only_demo_in(folder: Path) -> Iterator[None]:
    """Hold a folder for this demo alone, without the files of the one before.

    Raises:
        PermanentError: Another demo is at work there.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermanentError("Another demo is at work in this folder: wait for its end.") from None
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
        yield


def _say(text: str, *, is_silent: bool) -> None:
    if not is_silent:
        print_text(text)


def _print_end(report: _Report, folder: Path, *, is_ok: bool) -> None:
    print_text("\nChecked independently:")
    for check in report.checks:
        line = style_state("ok" if check.is_ok else "fail")
        output_console().print(line, f" {check.name}: {check.detail}", soft_wrap=True, markup=False)
    print_text(f"\nThe backup, its manifest and its state are in {folder / 'backups'}")
    print_text(f"The worker's log is {folder / 'worker.log'}")
    if not is_ok:
        print_error("The demo did not show what it must.", kind="DemoFailed", as_json=False)


def _print_log_tail(path: Path) -> None:
    if path.exists():
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        print_remark("\n".join(["The last lines of the worker's log:", *lines]))


def _to_document(report: _Report, folder: Path, generation: GenerationName, *, is_ok: bool) -> dict[str, Any]:
    return {
        "is_ok": is_ok,
        "generation": str(generation),
        "rows": report.rows,
        "runs": [run.to_dict() for run in report.runs],
        "checks": [check.to_dict() for check in report.checks],
        "backup_dir": str(folder / "backups"),
        "worker_log": str(folder / "worker.log"),
    }
