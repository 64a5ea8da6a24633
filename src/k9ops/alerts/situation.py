"""Everything that the rules look at, read from PostgreSQL in one go; Redis and periodiq are not asked."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from k9ops.config.settings import Settings
from k9ops.db.application import inspect_application
from k9ops.db.backup_settings import read_backup_settings
from k9ops.db.engine import is_unavailable
from k9ops.errors import DatabaseInvalid

_REMEMBERED = 12
# Of jobs that do the work of many schedules or for many recipients.
_REMEMBERED_OF_SHARED = 200

# From index entry to index entry: it reads the same few rows of a ledger of millions.
_HISTORY = text("""
    WITH RECURSIVE jobs (job) AS (
        (SELECT job FROM k9ops.run WHERE finished_at IS NOT NULL ORDER BY job LIMIT 1)
        UNION ALL
        SELECT (SELECT job FROM k9ops.run WHERE finished_at IS NOT NULL AND job > jobs.job ORDER BY job LIMIT 1)
        FROM jobs WHERE jobs.job IS NOT NULL)
    SELECT recent.* FROM jobs CROSS JOIN LATERAL (
        SELECT job, queue, state, slot, started_at, finished_at, message, error_class, evidence, trigger,
               acknowledged_at,
               CASE WHEN job = 'deliver_report' THEN params ->> 'recipient'
                    WHEN trigger = 'schedule' AND slot IS NULL THEN CAST(params - 'as_of' AS text) END AS series
        FROM k9ops.run
        WHERE run.job = jobs.job AND finished_at IS NOT NULL AND finished_at <= :now
        ORDER BY finished_at DESC
        LIMIT CASE WHEN jobs.job IN ('create_report', 'deliver_report') THEN :remembered_of_shared
                   ELSE :remembered END) AS recent
""")
_RUNNING = text("SELECT job, slot, started_at, trigger FROM k9ops.run WHERE state = 'running'")
_WAITING = text("""
    SELECT queue, count(*) AS due, min(due_at) AS oldest_at,
           count(*) FILTER (WHERE sent_at IS NULL) AS unsent, min(due_at) FILTER (WHERE sent_at IS NULL) AS unsent_at
    FROM k9ops.run WHERE state IN ('queued', 'retrying') AND due_at <= :now GROUP BY queue ORDER BY queue
""")
_LATE = text("""
    SELECT DISTINCT ON (job) job, slot FROM k9ops.run
    WHERE state = 'queued' AND started_at IS NULL AND slot IS NOT NULL AND due_at <= :now
      AND NOT EXISTS (SELECT FROM k9ops.queue_pause WHERE queue_pause.queue = run.queue)
    ORDER BY job, slot
""")
_PROCESSES = text("""
    SELECT kind, host, queues, seen_at + make_interval(secs => silent_after_s) < :now AS is_silent FROM k9ops.process
""")
# What was missed while somebody had paused the schedule was meant to be missed.
_SCHEDULES = text("""
    SELECT name, dispatched_until, last_slot, last_missed_slot, paused_at IS NOT NULL AS is_paused,
           EXISTS (SELECT FROM k9ops.audit_event AS event WHERE event.target_type = 'schedule'
                   AND event.target_id = schedule.name AND event.action = 'resume'
                   AND event.at >= schedule.last_missed_slot) AS was_paused
    FROM k9ops.schedule ORDER BY name
""")
_VERIFIED = text("""
    SELECT finished_at FROM k9ops.run
    WHERE job = 'verify_backup' AND state = 'succeeded' AND finished_at IS NOT NULL AND finished_at <= :now
    ORDER BY finished_at DESC LIMIT 1
""")
_PAUSES = text("SELECT queue, paused_at, paused_by, reason FROM k9ops.queue_pause ORDER BY queue")
_RESUMES = text("""
    SELECT target_id AS queue, max(at) AS resumed_at FROM k9ops.audit_event
    WHERE target_type = 'queue' AND action = 'resume' AND at <= :now GROUP BY target_id
""")
_FIRST = text("SELECT min(created_at) FROM k9ops.run")


@dataclass(frozen=True)
class EndedRun:
    """A run that has ended.

    Attributes:
        state: `succeeded`, `partial`, `skipped`, `failed`, `cancelled` or `expired`.
        finished_at: Aware.
        duration_s: From the first start; None when it never started.
        late_s: Seconds from its slot, or from the end of a pause of its queue after that, to its start; None without a
            slot.
        message: For a person.
        error_class: Of what made it fail.
        evidence: What it proved.
        is_acknowledged: Whether a person has looked after it.
        series: Which of the schedules that share its job it is of, or for which recipient; None where there is one.
    """

    state: str
    finished_at: datetime
    duration_s: float | None = None
    late_s: float | None = None
    message: str | None = None
    error_class: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    is_acknowledged: bool = False
    series: str | None = None


@dataclass(frozen=True)
class RunningRun:
    """A run that is executed now."""

    job: str
    started_at: datetime


@dataclass(frozen=True)
class WaitingRuns:
    """The runs of a queue that are due and not claimed."""

    queue: str
    due: int
    oldest_at: datetime
    unsent: int = 0
    unsent_at: datetime | None = None


@dataclass(frozen=True)
class PausedQueue:
    """A queue that a person has paused."""

    queue: str
    paused_at: datetime
    paused_by: str
    reason: str | None = None


@dataclass(frozen=True)
class ScheduleFacts:
    """How far a schedule is."""

    name: str
    dispatched_until: datetime
    last_slot: datetime | None = None
    last_missed_slot: datetime | None = None
    is_paused: bool = False
    was_paused: bool = False


@dataclass(frozen=True)
class Room:
    """Room in a place, in bytes."""

    free_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class DriveFacts:
    """What Google Drive said when it was last asked.

    Attributes:
        asked_at: When; None before the first time.
        room: None when the account has no limit, or could not be asked.
        problem: Why the credentials are not accepted; None when they are.
    """

    asked_at: datetime | None = None
    room: Room | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Situation:
    """What there is at one moment.

    Attributes:
        now: The moment, aware.
        history: The newest ended runs of each job, newest first.
        running: Runs that are executed.
        waiting: Queues with runs that are due.
        paused: Queues that wait because a person wants it so.
        unstarted: By job, the oldest slot whose run waits still, in a queue that is not paused.
        served_queues: Those that a living worker takes.
        has_workers: Whether a living worker reports.
        schedules: The timetable as far as it was decided.
        wants_backups: Whether the application wants automatic backups, or does not let it be known.
        verified_at: When a backup was last proven.
        known_since: When the ledger's first run was recorded; None while it is empty.
        disk: Room in the backup folder; None where this machine has none.
        drive: What is known of Google Drive.
        last_round_at: When the watchman last went his round; None before the first.
    """

    now: datetime
    history: Mapping[str, Sequence[EndedRun]] = field(default_factory=dict)
    running: Sequence[RunningRun] = ()
    waiting: Sequence[WaitingRuns] = ()
    paused: Sequence[PausedQueue] = ()
    unstarted: Mapping[str, datetime] = field(default_factory=dict)
    served_queues: frozenset[str] = frozenset()
    has_workers: bool = True
    schedules: Sequence[ScheduleFacts] = ()
    wants_backups: bool = False
    verified_at: datetime | None = None
    known_since: datetime | None = None
    disk: Room | None = None
    drive: DriveFacts = DriveFacts()
    last_round_at: datetime | None = None


def read_situation(
    connection: Connection, settings: Settings, *, now: datetime, drive: DriveFacts, last_round_at: datetime | None
) -> Situation:
    """Read what the rules look at.

    Args:
        connection: To the ledger's database.
        settings: The backup folder.
        now: The moment, aware.
        drive: What Google Drive last said.
        last_round_at: Of the watchman.
    """
    at = {"now": now}
    history: dict[str, list[EndedRun]] = {}
    resumes = {row.queue: row.resumed_at for row in connection.execute(_RESUMES, at)}
    remembered = {"remembered": _REMEMBERED, "remembered_of_shared": _REMEMBERED_OF_SHARED}
    for row in connection.execute(_HISTORY, at | remembered):
        started, slot = row.started_at, row.slot if row.trigger == "schedule" else None
        resumed_at = resumes.get(row.queue)
        if slot and started and resumed_at and slot < resumed_at <= started:
            slot = resumed_at
        history.setdefault(row.job, []).append(
            EndedRun(
                row.state,
                row.finished_at,
                duration_s=(row.finished_at - started).total_seconds() if started else None,
                late_s=(started - slot).total_seconds() if started and slot else None,
                message=row.message,
                error_class=row.error_class,
                evidence=row.evidence or {},
                is_acknowledged=row.acknowledged_at is not None,
                series=row.series,
            )
        )
    processes = connection.execute(_PROCESSES, at).all()
    workers = [item for item in processes if item.kind == "worker" and not item.is_silent]
    return Situation(
        now=now,
        history=history,
        running=[RunningRun(row.job, row.started_at) for row in connection.execute(_RUNNING)],
        waiting=[WaitingRuns(*row) for row in connection.execute(_WAITING, at)],
        paused=[PausedQueue(*row) for row in connection.execute(_PAUSES)],
        unstarted={row.job: row.slot for row in connection.execute(_LATE, at)},
        served_queues=frozenset(queue for worker in workers for queue in worker.queues),
        has_workers=bool(workers),
        schedules=[ScheduleFacts(*row) for row in connection.execute(_SCHEDULES)],
        wants_backups=_wants_backups(connection),
        verified_at=connection.scalar(_VERIFIED, at),
        known_since=connection.scalar(_FIRST),
        disk=_measure_disk(settings),
        drive=drive,
        last_round_at=last_round_at,
    )


def _wants_backups(connection: Connection) -> bool:
    """Tell whether backups are wanted; what cannot be read stops the schedule, and must not stop the alert too."""
    schema = inspect_application(connection)
    if not schema.has("backup_settings"):
        return False
    try:
        with connection.begin_nested():
            return read_backup_settings(connection, schema).wants_backups
    except DatabaseInvalid:
        return True
    except DBAPIError as exc:
        if is_unavailable(exc):
            raise
        return True


def _measure_disk(settings: Settings) -> Room | None:
    try:
        usage = shutil.disk_usage(settings.backup_dir)
    except OSError:
        return None
    return Room(usage.free, usage.total)
