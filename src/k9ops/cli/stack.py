"""`k9ops up`: the whole service on one machine, until Ctrl-C."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import typer

from k9ops.broker.redis_broker import K9opsRedisBroker
from k9ops.cli.announcer import Announcer
from k9ops.cli.dashboard import LOCAL_ACCOUNT, plan_dashboard, prepare_first_account
from k9ops.cli.failures import EXIT_FAILED
from k9ops.cli.names import load_broker
from k9ops.cli.output import JsonFlag
from k9ops.cli.servers import EmbeddedServer, make_postgres, make_valkey, needs_postgres, needs_redis
from k9ops.cli.services import Backoff, SchedulerPlan, ServicePlan, ServiceProcess, plan_workers
from k9ops.cli.session import open_settings
from k9ops.config.settings import LoadedSettings, Settings, get_loaded_settings, load_settings
from k9ops.config.sources import process_environment
from k9ops.db import migrate
from k9ops.db.application import inspect_application
from k9ops.db.engine import create_engine_for, database_errors

_POLL_S = 0.2


def up(as_json: JsonFlag = False) -> None:
    """Run the whole service here until Ctrl-C.

    Starts a PostgreSQL where DATABASE_URL is not set and a Redis-compatible server where REDIS_URL is not set; their
    data stay in K9OPS_STATE_DIR. Then brings the tables of k9ops up to date and starts the workers, a scheduler and the
    dashboard, whose first account it makes where it started the PostgreSQL.
    """
    open_settings()
    announcer = Announcer(as_json=as_json)
    stop = threading.Event()
    with _stop_signals(stop), ExitStack() as stack:
        servers = _start_servers(stack, get_loaded_settings(), announcer)
        environment = _make_environment(stack, get_loaded_settings().settings, servers, announcer)
        settings = load_settings(environment).settings
        _prepare_database(settings, announcer, is_own="DATABASE_URL" in servers)
        broker = load_broker()
        if not isinstance(broker, K9opsRedisBroker):
            announcer.say("stack.broker", f"Messages go through RabbitMQ on {vars(broker)['address']}.")
        crew = _Crew(environment, announcer)
        stack.callback(crew.stop)
        for plan in plan_workers(sorted(broker.get_declared_queues())):
            crew.start(plan)
        crew.start(SchedulerPlan())
        crew.start(plan_dashboard(settings))
        announcer.say("stack.ready", "Everything runs. Ctrl-C stops it.")
        lost = None
        while lost is None and not stop.wait(_POLL_S):
            crew.look_after()
            lost = next((variable for variable, server in servers.items() if not server.is_running), None)
        if lost is not None:
            text = f"The server of {lost} has ended; its log is {servers[lost].log_path}."
            announcer.say("server.ended", text, log=str(servers[lost].log_path))
        announcer.say("stack.stopping", "Stopping: the workers first.")
    announcer.say("stack.stopped", "Everything is stopped.")
    if lost is not None:
        raise typer.Exit(EXIT_FAILED)


@contextmanager
def _stop_signals(stop: threading.Event) -> Iterator[None]:
    """Turn every signal that ends a program into a request to stop in order; a second one changes nothing."""

    def request_stop(number: int, frame: FrameType | None) -> None:
        stop.set()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, request_stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start_servers(stack: ExitStack, loaded: LoadedSettings, announcer: Announcer) -> dict[str, EmbeddedServer]:
    """Start the servers that no variable names, and return them by the variable that they stand for."""
    folder = loaded.settings.state_dir.absolute()
    servers: dict[str, EmbeddedServer] = {}
    if needs_postgres(loaded):
        servers["DATABASE_URL"] = stack.enter_context(make_postgres(folder))
        announcer.say("server.started", f"PostgreSQL runs on {folder / 'postgres'}.", server="postgres")
    if needs_redis(loaded):
        servers["REDIS_URL"] = stack.enter_context(make_valkey(folder))
        announcer.say("server.started", f"Valkey runs on {folder / 'valkey'}.", server="valkey")
    return servers


def _make_environment(
    stack: ExitStack, settings: Settings, servers: Mapping[str, EmbeddedServer], announcer: Announcer
) -> dict[str, str]:
    """Return the environment of the workers; a file has the part that other commands need."""
    found = {variable: server.url for variable, server in servers.items()}
    if found:
        file = _environment_file(
            settings.state_dir.absolute() / "env",
            {
                **found,
                "K9OPS_BACKUP_DIR": str(settings.backup_dir.absolute()),
                "K9OPS_REPORTS_DIR": str(settings.reports_dir.absolute()),
            },
        )
        path = stack.enter_context(file)
        announcer.say("stack.environment", f"For other k9ops commands, in another terminal: . {path}", path=str(path))
    log_format = "json" if announcer.as_json else settings.log_format
    return {
        **process_environment(),
        **found,
        "K9OPS_LOG_FORMAT": "console" if log_format == "auto" else log_format,
    }


@contextmanager
def _environment_file(path: Path, variables: dict[str, str]) -> Iterator[Path]:
    """Keep a file, for its owner alone, that a shell can read the servers' URLs from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _prepare_database(settings: Settings, announcer: Announcer, *, is_own: bool) -> None:
    engine = create_engine_for(settings.sqlalchemy_url, settings, application_name=f"k9ops up:{os.getpid()}")
    try:
        revision = migrate.upgrade(engine)
        announcer.say("database.upgraded", f"The tables of k9ops are at revision {revision}.", revision=revision)
        with database_errors(), engine.connect() as connection:
            generation = inspect_application(connection).generation
        password = prepare_first_account(engine, settings, settings.state_dir.absolute()) if is_own else None
    finally:
        engine.dispose()
    if generation is None:
        advice = "This database has no tables of the K9 application. Sample data: k9ops db seed"
        announcer.say("database.empty", advice)
    if password is not None:
        text = (
            f"Enter the dashboard as {LOCAL_ACCOUNT}, with the password in {password}; then make accounts of your own."
        )
        announcer.say("dashboard.account", text, path=str(password))


class _Crew:
    """The workers, the scheduler and the dashboard, each started again when it dies."""

    def __init__(self, environment: dict[str, str], announcer: Announcer) -> None:
        self._environment = environment
        self._announcer = announcer
        self._processes: dict[str, ServiceProcess] = {}
        self._backoffs: dict[str, Backoff] = {}
        self._starts_at_s: dict[str, float] = {}
        self._readers: list[threading.Thread] = []

    def start(self, plan: ServicePlan) -> None:
        """Start a process and pass on what it logs."""
        process = ServiceProcess(plan, environment=self._environment, cwd=Path.cwd(), output=subprocess.PIPE)
        self._processes[plan.name] = process
        assert process.output is not None  # noqa: S101 - it was asked for as a pipe
        self._readers.append(self._announcer.relay_all(plan.name, process.output))
        self._announcer.say("process.launched", f"{plan.title} {plan.task} (process {process.pid}).")

    def look_after(self) -> None:
        """Start processes again that have ended, each after a wait of its own."""
        now_s = time.monotonic()
        for name, process in list(self._processes.items()):
            code = process.exit_code()
            if code is None:
                continue
            if name not in self._starts_at_s:
                process.stop()
                wait_s = self._backoffs.setdefault(name, Backoff()).next_wait_s(lived_s=now_s - process.started_s)
                self._starts_at_s[name] = now_s + wait_s
                text = f"{process.plan.title} ended with code {code}; it is started again in {wait_s:.0f} s."
                self._announcer.say("process.ended", text, process=name, exit_code=code)
            elif now_s >= self._starts_at_s[name]:
                del self._starts_at_s[name]
                self.start(process.plan)

    def stop(self) -> None:
        """Stop all at the same time, and wait for the last line of each."""
        for process in self._processes.values():
            process.request_stop()
        for process in self._processes.values():
            process.stop()
        for reader in self._readers:
            reader.join(timeout=5)
