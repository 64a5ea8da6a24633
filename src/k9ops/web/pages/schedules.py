"""Schedules: when each is due, how it went lately, and pausing it or running it now."""

from __future__ import annotations

from sqlalchemy import Engine
from starlette.responses import Response

from k9ops.broker.enqueue import enqueue_run
from k9ops.broker.jobs import find_actor
from k9ops.ledger.browsing import list_slot_runs
from k9ops.ledger.model import Run
from k9ops.ledger.slots import pause_schedule, resume_schedule
from k9ops.periodic.looking import ScheduleView, find_schedule, look_at_schedules
from k9ops.periodic.timetable import Schedule
from k9ops.web.visit import Visit

_STRIP = 14


def show_schedules(visit: Visit) -> Response:
    """Show the timetable."""
    engine = visit.desk.engine
    views = look_at_schedules(visit.desk.settings, engine)
    strips = {view.schedule.name: list(reversed(_find_last_runs(engine, view))) for view in views}
    return visit.render("schedules.html", views=views, strips=strips)


def _find_last_runs(engine: Engine, view: ScheduleView) -> list[Run]:
    """Return runs, newest first; a schedule that shares its job with others shows its last one."""
    if view.schedule.params is None:
        return list_slot_runs(engine, view.schedule.job, limit=_STRIP)
    return [view.last_run] if view.last_run else []


def pause(visit: Visit) -> Response:
    """Pause a schedule."""
    schedule, reason = _find(visit), visit.reason()
    pause_schedule(visit.desk.engine, schedule.name, paused_by=visit.person, origin=visit.origin, reason=reason)
    return visit.go("/schedules", done="paused")


def resume(visit: Visit) -> Response:
    """Let a schedule go on."""
    schedule, reason = _find(visit), visit.reason()
    resume_schedule(visit.desk.engine, schedule.name, resumed_by=visit.person, origin=visit.origin, reason=reason)
    return visit.go("/schedules", done="resumed")


def run_now(visit: Visit) -> Response:
    """Ask a worker to run a schedule's job now."""
    desk, schedule, reason = visit.desk, _find(visit), visit.reason()
    asked = enqueue_run(
        desk.engine,
        desk.broker,
        desk.settings,
        find_actor(desk.broker, schedule.job),
        dict(schedule.params or {}),
        trigger="web",
        requested_by=visit.person,
        origin=visit.origin,
        reason=reason,
    )
    return visit.go(f"/runs/{asked.run_id}", done="requested")


def _find(visit: Visit) -> Schedule:
    return find_schedule(visit.desk.settings, visit.desk.engine, visit.request.path_params["name"])
