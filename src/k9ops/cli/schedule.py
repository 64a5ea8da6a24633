"""`k9ops schedule`: look at the timetable, pause it, resume it, and start a schedule's job now."""

from __future__ import annotations

import inspect
from datetime import datetime
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text
from sqlalchemy import Engine

from k9ops.broker.enqueue import enqueue_run
from k9ops.broker.jobs import find_actor
from k9ops.cli.names import Reason, load_broker
from k9ops.cli.output import JsonFlag, format_moment, print_json, print_remark, print_table, print_text, style_state
from k9ops.cli.run_view import SHORT_ID, run_document
from k9ops.cli.session import name_here, name_requester, open_settings
from k9ops.config.settings import Settings
from k9ops.db.engine import get_engine
from k9ops.errors import ParamsInvalid
from k9ops.ledger.requests import get_run
from k9ops.ledger.slots import pause_schedule, read_clock, resume_schedule
from k9ops.periodic.looking import ScheduleView, find_schedule, look_at_schedules

app = typer.Typer(help="Look at the timetable, pause it, run a job of it now.", no_args_is_help=True)


def _complete_schedule(incomplete: str) -> list[str]:
    from k9ops.config.settings import get_settings
    from k9ops.db.backup_settings import BackupSettings
    from k9ops.errors import K9opsError
    from k9ops.periodic.timetable import build_timetable

    try:
        return [
            item.name for item in build_timetable(get_settings(), BackupSettings()) if item.name.startswith(incomplete)
        ]
    except K9opsError:
        return []


ScheduleName = Annotated[
    str,
    typer.Argument(metavar="NAME", help="Name of a schedule, e.g. create_backup.", autocompletion=_complete_schedule),
]


@app.command("list")
def list_command(as_json: JsonFlag = False) -> None:
    """List the timetable: when each schedule is due next, how its last run ended, what was missed."""
    settings = open_settings()
    views = look_at_schedules(settings, get_engine())
    if as_json:
        print_json({"timezone": settings.timezone, "schedules": [view.to_dict() for view in views]})
        return
    columns = ("schedule", "cron", f"next ({settings.timezone})", "last slot", "last run", "missed slots", ">missed")
    print_table(columns, [_make_row(view, settings) for view in views], empty="The timetable is empty.")
    if not any(view.state for view in views):
        print_remark("No scheduler has run on this database yet: `periodiq k9ops.periodic` starts one.")


@app.command("pause")
def pause(name: ScheduleName, reason: Reason = None, as_json: JsonFlag = False) -> None:
    """Pause a schedule: its slots become no runs until it is resumed."""
    settings, engine = open_settings(), get_engine()
    find_schedule(settings, engine, name)
    is_changed = pause_schedule(engine, name, paused_by=name_requester(), origin=name_here(), reason=reason)
    _answer(settings, engine, name, "is paused." if is_changed else "was paused already.", as_json=as_json)


@app.command("resume")
def resume(name: ScheduleName, reason: Reason = None, as_json: JsonFlag = False) -> None:
    """Let a paused schedule go on with its next slot; what was due meanwhile is not caught up."""
    settings, engine = open_settings(), get_engine()
    find_schedule(settings, engine, name)
    is_changed = resume_schedule(engine, name, resumed_by=name_requester(), origin=name_here(), reason=reason)
    _answer(settings, engine, name, "goes on." if is_changed else "was not paused.", as_json=as_json)


@app.command("run-now")
def run_now(
    name: ScheduleName,
    slot: Annotated[
        str | None,
        typer.Option("--slot", help="The run of this slot, e.g. 2026-11-24T02:00; the unit's time without an offset."),
    ] = None,
    reason: Reason = None,
    as_json: JsonFlag = False,
) -> None:
    """Ask a worker to run a schedule's job now, whether it is paused or not.

    With --slot it is the run of that slot: nothing happens when the slot has one.
    """
    settings, broker, engine = open_settings(), load_broker(), get_engine()
    schedule = find_schedule(settings, engine, name)
    actor = find_actor(broker, schedule.job)
    params = dict(schedule.params or {})
    if slot is not None:
        if "slot" not in inspect.signature(actor.fn).parameters:
            raise ParamsInvalid(f"{actor.actor_name} has no parameter slot: run it without --slot.")
        moment = parse_moment(slot, settings)
        if moment > read_clock(engine):
            raise ParamsInvalid(f"--slot {slot}: it lies in the future, and would be taken for done when it comes.")
        params["slot"] = moment.isoformat()
    who = name_requester()
    asked = enqueue_run(
        engine, broker, settings, actor, params, trigger="cli", requested_by=who, origin=name_here(), reason=reason
    )
    short = str(asked.run_id)[:SHORT_ID]
    if as_json:
        print_json({**run_document(get_run(engine, asked.run_id)), "is_new": asked.is_new, "path": asked.path})
    elif not asked.is_new:
        print_text(f"This slot has a run already: {short}. Nothing was sent.")
    else:
        later = "" if asked.path == "worker" else " Redis is away: it is sent when Redis is back."
        print_text(f"Run {short} ({actor.actor_name}) is recorded.{later} `k9ops runs show {short}` says how it goes.")


def parse_moment(text: str, settings: Settings) -> datetime:
    """Return a moment that a person typed; one without an offset is in the unit's time zone.

    Raises:
        ParamsInvalid: It is no moment.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ParamsInvalid(f"--slot {text!r}: it must be a moment such as 2026-11-24T02:00.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=settings.zone)


def _answer(settings: Settings, engine: Engine, name: str, words: str, *, as_json: bool) -> None:
    if not as_json:
        print_text(f"{name} {words}")
        return
    view = next(view for view in look_at_schedules(settings, engine) if view.schedule.name == name)
    print_json({"schedule": view.to_dict()})


def _make_row(view: ScheduleView, settings: Settings) -> list[RenderableType]:
    state, zone = view.state, settings.zone
    due: RenderableType = format_moment(view.next_slot, zone) if view.next_slot else "switched off"
    if state is not None and state.paused_at is not None:
        due = Text(f"paused by {state.paused_by}", style="yellow")
    last = Text("-")
    if view.last_run is not None:
        last = Text.assemble(style_state(view.last_run.state), f" {str(view.last_run.id)[:SHORT_ID]}")
    return [
        view.schedule.name,
        view.schedule.cron or "-",
        due,
        format_moment(state.last_slot if state else None, zone),
        last,
        view.schedule.catch_up,
        str(state.missed if state else 0),
    ]
