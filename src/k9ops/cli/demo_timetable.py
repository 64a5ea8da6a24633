"""The demo's timetable: slots that were missed for days, and two schedulers that find them at the same time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Engine

from k9ops.cli.demo_checks import SCHEDULED_JOBS
from k9ops.cli.services import SchedulerPlan, ServiceProcess
from k9ops.config.settings import Settings
from k9ops.ledger.model import Run
from k9ops.ledger.requests import list_runs
from k9ops.ledger.slots import lock_schedule_state, pause_schedule, read_clock
from k9ops.periodic.dispatcher import load_timetable

AWAY = timedelta(days=8)
_SCHEDULERS = 2


def pretend_absence(engine: Engine, settings: Settings) -> None:
    """Leave the ledger as eight days without a scheduler would; schedules that the demo does not show are paused."""
    since = read_clock(engine) - AWAY
    for schedule in load_timetable(settings, engine):
        if schedule.job in SCHEDULED_JOBS:
            with engine.begin() as connection:
                lock_schedule_state(connection, schedule.name, since=since)
        else:
            pause_schedule(engine, schedule.name, paused_by="demo")


def start_schedulers(stack: ExitStack, environment: Mapping[str, str], folder: Path) -> list[Path]:
    """Start two schedulers and return their logs; they end with the stack."""
    logs = [folder / f"scheduler-{number + 1}.log" for number in range(_SCHEDULERS)]
    for log in logs:
        output = stack.enter_context(log.open("wb"))
        process = ServiceProcess(SchedulerPlan(), environment=environment, cwd=folder, output=output)
        stack.callback(process.stop)
    return logs


def wait_for_schedulers(logs: list[Path], wait: Callable[[Callable[[], bool]], None]) -> None:
    """Wait until each scheduler has decided its first tick."""
    wait(lambda: all(b"scheduler.ready" in log.read_bytes() for log in logs))


def find_scheduled_runs(engine: Engine) -> list[Run]:
    """Return the runs that the schedulers have recorded, oldest first."""
    return [run for run in reversed(list_runs(engine, limit=100)) if run.trigger == "schedule"]
