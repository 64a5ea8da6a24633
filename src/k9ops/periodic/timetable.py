"""The timetable: what is due when, in the unit's time zone, and what happens to slots that were missed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from k9ops.config.settings import Settings
from k9ops.db.backup_settings import BackupSettings
from k9ops.db.report_subscriptions import Subscription, schedule_name
from k9ops.errors import DatabaseInvalid, ParamsInvalid

CatchUp = Literal["none", "latest", "all"]

#: A slot that is decided no later than this after its moment is on time, whatever happened in between.
ON_TIME_S = 120.0

# Maintenance that is older than this says nothing any more.
_ROUTINE_S = 900.0

_SLOT_RUNS = uuid.UUID("6b396f70-7300-5000-8000-736c6f747300")

_LONGEST_LOOK_BACK = timedelta(days=366)

_LAST_HOUR = 23
_CRON_FIELDS = 5


@dataclass(frozen=True)
class Schedule:
    """A row of the timetable.

    Attributes:
        name: Permanent; the job's name where the job has one schedule.
        job: What its slots run.
        cron: Five fields in the unit's time zone, read as Debian's cron does; None while it is switched off.
        bell: Five fields for periodiq, in the process's time zone: a further tick beside that of every minute.
        catch_up: What becomes of slots that were missed: `none`, only the `latest`, or `all`.
        max_lateness_s: A slot that is older is missed for good, and a run that has not started by then expires; None
            is no limit.
        params: Of a schedule that shares its job with others: parameters of its runs, which also get `as_of`, the
            slot. The name and the slot then give a run its id, since the job has many runs for a slot.
    """

    name: str
    job: str
    cron: str | None
    bell: str
    catch_up: CatchUp
    max_lateness_s: float | None = None
    params: Mapping[str, Any] | None = None

    def slot_run_id(self, slot: datetime) -> uuid.UUID:
        """Return the id of the run of a slot, for a schedule with parameters."""
        return uuid.uuid5(_SLOT_RUNS, f"{self.name} {slot.astimezone(UTC).isoformat()}")

    @property
    def max_lateness(self) -> timedelta | None:
        """`max_lateness_s` as a time delta."""
        return None if self.max_lateness_s is None else timedelta(seconds=self.max_lateness_s)


@dataclass(frozen=True)
class SlotPlan:
    """What becomes of the slots that have come due: disjoint, each oldest first.

    Attributes:
        dispatch: These become runs.
        missed: These do not.
    """

    dispatch: tuple[datetime, ...]
    missed: tuple[datetime, ...]


def build_timetable(settings: Settings, wishes: BackupSettings) -> tuple[Schedule, ...]:
    """Return every schedule of the service.

    Args:
        settings: Hour and minute of the schedule lock.
        wishes: The application's backup settings, as they are now.

    Raises:
        DatabaseInvalid: As `backup_cron`.
    """
    lock = f"{settings.schedule_auto_lock_minute} {settings.schedule_auto_lock_hour} * * *"
    return (
        Schedule("lock_schedules", "lock_schedules", lock, bell=lock, catch_up="latest"),
        Schedule("clean_notifications", "clean_notifications", "0 2 * * 1", bell="0 2 * * 1", catch_up="latest"),
        Schedule("create_backup", "create_backup", backup_cron(wishes), bell="0 * * * *", catch_up="latest"),
        Schedule("relay_outbox", "relay_outbox", "*/5 * * * *", "*/5 * * * *", "all", max_lateness_s=_ROUTINE_S),
        Schedule("rescue_runs", "rescue_runs", "*/5 * * * *", "*/5 * * * *", "all", max_lateness_s=_ROUTINE_S),
        Schedule("canary", "canary", "0 * * * *", "0 * * * *", "all", max_lateness_s=_ROUTINE_S),
        Schedule("prune_runs", "prune_runs", "30 3 * * *", "30 3 * * *", "latest"),
        Schedule("expire_reports", "expire_reports", "45 3 * * *", "45 3 * * *", "latest"),
    )


def schedule_subscriptions(subscriptions: Sequence[Subscription]) -> tuple[Schedule, ...]:
    """Return the schedules of reports; of missed ones the latest is made up for."""
    return tuple(
        Schedule(
            schedule_name(item.name),
            "create_report",
            item.cron,
            bell="* * * * *",
            catch_up="latest",
            params={
                "report": item.report,
                "params": dict(item.params),
                "format": item.format,
                "requested_by": item.created_by,
                "skip_if_empty": item.skip_if_empty,
                "deliver_to": list(item.recipients),
            },
        )
        for item in subscriptions
    )


def check_cron(text: str, zone: ZoneInfo) -> str:
    """Return a cron expression of five fields, in one form.

    Raises:
        ParamsInvalid: It is none, or no day ever fits it.
    """
    cron = " ".join(text.split())
    try:
        if len(cron.split()) != _CRON_FIELDS:
            raise CronSimError("it must have five fields")
        find_next_slot(cron, zone, after=datetime.now(UTC))
    except (CronSimError, StopIteration) as exc:
        problem = str(exc) or "no day fits it"
        raise ParamsInvalid(
            f"cron = {text!r}: {problem}; it must look like `0 6 * * 0`, minute hour day month weekday."
        ) from None
    return cron


def backup_cron(wishes: BackupSettings) -> str | None:
    """Return when the application wants backups: daily, on Sundays, or on the 1st, at its hour; None for never.

    Raises:
        DatabaseInvalid: The hour is none of a day.
    """
    if not wishes.wants_backups:
        return None
    if not 0 <= wishes.backup_hour <= _LAST_HOUR:
        raise DatabaseInvalid("The backup hour in the settings is not one of 0 to 23.", hour=wishes.backup_hour)
    days = {"DAILY": "* * *", "WEEKLY": "* * 0", "MONTHLY": "1 * *"}[wishes.backup_frequency]
    return f"0 {wishes.backup_hour} {days}"


def find_slots(cron: str, zone: ZoneInfo, *, after: datetime, until: datetime) -> list[datetime]:
    """Return the due moments in (`after`, `until`], aware UTC, oldest first; no further back than a year.

    A local time that a change of clocks leaves out is due when the clocks have changed; one that comes twice
    is due the first time. Schedules of every hour or minute follow real time.
    """
    after = max(after, until - _LONGEST_LOOK_BACK)
    slots: list[datetime] = []
    for slot in _iterate(cron, zone, after):
        if slot > until:
            return slots
        if slot > after:
            slots.append(slot)
    return slots


def find_next_slot(cron: str, zone: ZoneInfo, *, after: datetime) -> datetime:
    """Return the first due moment after another, aware UTC."""
    return next(slot for slot in _iterate(cron, zone, after) if slot > after)


def plan_slots(schedule: Schedule, slots: list[datetime], *, now: datetime) -> SlotPlan:
    """Decide which due slots become runs.

    Args:
        schedule: Its policy.
        slots: Due and undecided, oldest first.
        now: Aware UTC.
    """
    lateness = schedule.max_lateness
    allowed = [slot for slot in slots if lateness is None or now - slot <= lateness]
    if schedule.catch_up == "latest":
        chosen = allowed[-1:]
    elif schedule.catch_up == "none":
        chosen = [slot for slot in allowed if (now - slot).total_seconds() <= ON_TIME_S]
    else:
        chosen = allowed
    missed = tuple(slot for slot in slots if slot not in set(chosen))
    return SlotPlan(tuple(chosen), missed)


def _iterate(cron: str, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    for moment in CronSim(cron, after.astimezone(zone)):
        yield moment.astimezone(UTC)
