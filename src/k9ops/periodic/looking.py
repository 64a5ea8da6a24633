"""The timetable as it is now: when each schedule is due, how its last run ended, whether it is paused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from k9ops.config.settings import Settings
from k9ops.errors import RunNotFound, ScheduleUnknown
from k9ops.ledger.browsing import list_slot_runs
from k9ops.ledger.model import Run
from k9ops.ledger.requests import get_run
from k9ops.ledger.slots import ScheduleState, read_clock, read_schedule_states
from k9ops.periodic.dispatcher import load_timetable
from k9ops.periodic.timetable import Schedule, find_next_slot


@dataclass(frozen=True)
class ScheduleView:
    """A schedule as it is now.

    Attributes:
        schedule: The row of the timetable.
        state: How far it is; None when no scheduler has seen it yet.
        next_slot: Aware UTC; None while it is switched off.
        last_run: The newest run that it started; None also when nobody asked for it.
    """

    schedule: Schedule
    state: ScheduleState | None
    next_slot: datetime | None
    last_run: Run | None

    @property
    def is_paused(self) -> bool:
        """Whether its slots become no runs."""
        return self.state is not None and self.state.paused_at is not None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, times as ISO 8601."""
        state = self.state
        moments = {
            "next_slot": self.next_slot,
            "last_slot": state.last_slot if state else None,
            "dispatched_until": state.dispatched_until if state else None,
            "last_missed_slot": state.last_missed_slot if state else None,
            "paused_at": state.paused_at if state else None,
        }
        return {
            "name": self.schedule.name,
            "job": self.schedule.job,
            "cron": self.schedule.cron,
            "catch_up": self.schedule.catch_up,
            "max_lateness_s": self.schedule.max_lateness_s,
            "is_paused": self.is_paused,
            "paused_by": state.paused_by if state else None,
            "missed": state.missed if state else 0,
            "last_run": self.last_run.to_dict() if self.last_run else None,
            **{name: moment.isoformat() if moment else None for name, moment in moments.items()},
        }


def find_schedule(settings: Settings, engine: Engine, name: str) -> Schedule:
    """Return a schedule of the timetable.

    Raises:
        ScheduleUnknown: Lists the schedules that there are.
    """
    timetable = load_timetable(settings, engine)
    found = next((schedule for schedule in timetable if schedule.name == name), None)
    if found is None:
        known = ", ".join(schedule.name for schedule in timetable)
        raise ScheduleUnknown(f"There is no schedule {name!r}. The schedules are: {known}.")
    return found


def look_at_schedules(settings: Settings, engine: Engine, *, with_last_runs: bool = True) -> list[ScheduleView]:
    """Return every schedule as it is now, without its last run when that is not wanted."""
    now, states = read_clock(engine), read_schedule_states(engine)
    views = []
    for schedule in load_timetable(settings, engine):
        next_slot = find_next_slot(schedule.cron, settings.zone, after=now) if schedule.cron else None
        state = states.get(schedule.name)
        last_run = _find_last_run(engine, schedule, state) if with_last_runs else None
        views.append(ScheduleView(schedule, state, next_slot, last_run))
    return views


def _find_last_run(engine: Engine, schedule: Schedule, state: ScheduleState | None) -> Run | None:
    if schedule.params is None:
        runs = list_slot_runs(engine, schedule.job, limit=1)
        return runs[0] if runs else None
    if state is None or state.last_slot is None:
        return None
    try:
        return get_run(engine, schedule.slot_run_id(state.last_slot))
    except RunNotFound:
        return None  # pruned
