"""The dispatcher: turns slots that have come due into runs, each exactly once, however many schedulers there are."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import dramatiq
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, ProgrammingError

from k9ops.backups.application import read_wishes
from k9ops.broker.jobs import describe_job, find_actor
from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.db.backup_settings import BackupSettings
from k9ops.db.engine import database_errors
from k9ops.db.report_subscriptions import list_subscriptions
from k9ops.errors import DatabaseInvalid, DatabaseUnavailable
from k9ops.ledger.model import NewRun
from k9ops.ledger.requests import find_recorded, find_slot_run, find_slots_without_run, insert_run
from k9ops.ledger.slots import ScheduleState, advance_schedule, lock_schedule_state, read_clock, read_clock_in
from k9ops.periodic.timetable import Schedule, build_timetable, find_slots, plan_slots, schedule_subscriptions

_LOG = get_logger("k9ops.periodic")

# A clock that was put right by less than this needs no decision: the slots in between were decided already.
_CLOCK_TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True)
class DispatchedSlot:
    """A slot that became a run.

    Attributes:
        schedule: Name of the schedule.
        slot: Aware UTC.
        run_id: The run.
        is_new: False when the job had a run for this slot already.
    """

    schedule: str
    slot: datetime
    run_id: uuid.UUID
    is_new: bool


def load_timetable(settings: Settings, engine: Engine) -> tuple[Schedule, ...]:
    """Return the timetable of this moment, with the backup schedule that the application wants and the reports.

    Application settings that cannot be read leave the backup schedule out; everything else goes on.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    reports = _load_reports(engine)
    try:
        return (*build_timetable(settings, read_wishes(engine)), *reports)
    except (DatabaseInvalid, DBAPIError) as exc:
        problem = exc.user_message if isinstance(exc, DatabaseInvalid) else str(exc.orig)
        _LOG.error("schedule.unreadable", schedule="create_backup", problem=problem)
        known = build_timetable(settings, BackupSettings())
        return (*(schedule for schedule in known if schedule.job != "create_backup"), *reports)


def _load_reports(engine: Engine) -> tuple[Schedule, ...]:
    """Return the schedules of reports; none while the table is missing, so that backups go on before an upgrade."""
    try:
        return schedule_subscriptions(list_subscriptions(engine))
    except ProgrammingError as exc:
        _LOG.error("schedule.unreadable", schedule="report:*", problem=str(exc.orig))
        return ()


def dispatch_due_slots(
    engine: Engine,
    broker: dramatiq.Broker,
    settings: Settings,
    *,
    now: datetime | None = None,
    timetable: Sequence[Schedule] | None = None,
) -> list[DispatchedSlot]:
    """Record a run for every slot that has come due and that its schedule wants; the workers' relay sends them.

    Each schedule has a transaction of its own: the runs and how far the schedule is are recorded together. A process
    that dies in it has changed nothing, and two schedulers decide one after the other. A schedule that cannot be
    decided is logged, waits for the next call, and holds up no other.

    Args:
        engine: The ledger's database.
        broker: Knows the jobs; nothing is sent.
        settings: Time zone, lock time.
        now: Aware UTC; None asks PostgreSQL.
        timetable: None takes that of this moment.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer; the slots wait for the next call.
        ProgrammingError: The tables of k9ops are missing, or closed to this role.
    """
    moment = now or read_clock(engine)
    dispatched: list[DispatchedSlot] = []
    for schedule in load_timetable(settings, engine) if timetable is None else timetable:
        try:
            with database_errors(), engine.begin() as connection:
                dispatched += _dispatch(connection, broker, settings, schedule, moment)
        except (DatabaseUnavailable, ProgrammingError):
            raise  # PostgreSQL is away, or the tables of k9ops are: no schedule can be decided
        except Exception:
            _LOG.exception("schedule.undecided", schedule=schedule.name)
    return dispatched


def _dispatch(
    connection: Connection, broker: dramatiq.Broker, settings: Settings, schedule: Schedule, now: datetime
) -> list[DispatchedSlot]:
    minute = now.replace(second=0, microsecond=0)
    state = lock_schedule_state(connection, schedule.name, since=minute - timedelta(microseconds=1))
    if state.dispatched_until >= now:
        # A scheduler that stood still since it read the clock is late itself; the clock is as it was.
        if state.dispatched_until - max(now, read_clock_in(connection)) > _CLOCK_TOLERANCE:
            _LOG.warning("clock.set_back", schedule=schedule.name, until=state.dispatched_until.isoformat())
            advance_schedule(connection, schedule.name, until=now)
        return []
    slots = _find_due(schedule, settings, state, now)
    plan = plan_slots(schedule, slots, now=now)
    wanted, missed = ((), tuple(slots)) if state.paused_at else (plan.dispatch, plan.missed)
    missed = _find_missed(connection, schedule, missed)  # after a clock was set back some have a run
    dispatched = [_record(connection, broker, schedule, slot) for slot in wanted]
    last_slot = wanted[-1] if wanted else None
    advance_schedule(connection, schedule.name, until=now, last_slot=last_slot, missed=missed)
    _log_decision(schedule, dispatched, missed, now, is_paused=state.paused_at is not None)
    return dispatched


def _find_due(schedule: Schedule, settings: Settings, state: ScheduleState, now: datetime) -> list[datetime]:
    if schedule.cron is None:
        return []
    return find_slots(schedule.cron, settings.zone, after=state.dispatched_until, until=now)


def _record(connection: Connection, broker: dramatiq.Broker, schedule: Schedule, slot: datetime) -> DispatchedSlot:
    actor = find_actor(broker, schedule.job)
    lateness = schedule.max_lateness
    if schedule.params is not None:
        run_id = schedule.slot_run_id(slot)
        shared = NewRun(
            id=run_id,
            job=schedule.job,
            queue=describe_job(actor).queue,
            params={**schedule.params, "as_of": slot.isoformat()},
            trigger="schedule",
            expires_at=slot + lateness if lateness else None,
        )
        return DispatchedSlot(schedule.name, slot, run_id, is_new=insert_run(connection, shared, is_sent=False))
    takes_slot = "slot" in inspect.signature(actor.fn).parameters
    new = NewRun(
        job=schedule.job,
        queue=describe_job(actor).queue,
        params={"slot": slot.isoformat()} if takes_slot else {},
        trigger="schedule",
        slot=slot,
        expires_at=slot + lateness if lateness else None,
    )
    if insert_run(connection, new, is_sent=False):
        return DispatchedSlot(schedule.name, slot, new.id, is_new=True)
    return DispatchedSlot(schedule.name, slot, find_slot_run(connection, schedule.job, slot), is_new=False)


def _find_missed(connection: Connection, schedule: Schedule, slots: Sequence[datetime]) -> tuple[datetime, ...]:
    if schedule.params is None:
        return find_slots_without_run(connection, schedule.job, slots)
    ids = {slot: schedule.slot_run_id(slot) for slot in slots}
    taken = find_recorded(connection, list(ids.values()))
    return tuple(slot for slot in slots if ids[slot] not in taken)


def _log_decision(
    schedule: Schedule,
    dispatched: list[DispatchedSlot],
    missed: tuple[datetime, ...],
    now: datetime,
    *,
    is_paused: bool,
) -> None:
    for item in dispatched:
        _LOG.info(
            "slot.dispatched",
            schedule=schedule.name,
            slot=item.slot.isoformat(),
            run_id=str(item.run_id),
            is_new=item.is_new,
            late_s=round((now - item.slot).total_seconds(), 1),
        )
    if missed:
        log = _LOG.info if is_paused else _LOG.warning
        log(
            "slot.missed",
            schedule=schedule.name,
            count=len(missed),
            first_slot=missed[0].isoformat(),
            last_slot=missed[-1].isoformat(),
            reason="paused" if is_paused else f"catch_up={schedule.catch_up}",
        )
