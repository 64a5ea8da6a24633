"""The rules: what in a situation is wrong. Pure; each rule yields one condition for each thing that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from k9ops.alerts.situation import EndedRun, Situation, WaitingRuns
from k9ops.config.settings import Settings

# They run all day; a single one that is late or fails says nothing that the other rules do not say.
_ROUTINE_JOBS = frozenset({"canary", "relay_outbox", "rescue_runs"})
_SCHEDULER_SILENT_S = 300
_LONG_FACTOR = 4
_SHORT_FACTOR = 10
_SHORT_LEAST_S = 30.0
_COMPARED = 5
_DISK_SHARE = 0.05
_DRIVE_SHARE = 0.05
_GAP_ROUNDS = 10
_GAP_LEAST_S = 600
_DAY_S = 86_400
_WEEK = 7


@dataclass(frozen=True)
class Condition:
    """Something that is wrong.

    Attributes:
        rule: Name of the rule.
        subject: Which job, schedule or place; "" where there is only one.
        message: A sentence for a person.
    """

    rule: str
    subject: str
    message: str

    @property
    def key(self) -> str:
        """What makes it the same incident from round to round."""
        return f"{self.rule}:{self.subject}"


@dataclass(frozen=True)
class Rule:
    """A rule as people know it.

    Attributes:
        name: In messages, `alerts mute` and the documents.
        title: What it finds, in a few words.
        find: What it finds wrong.
    """

    name: str
    title: str
    find: Callable[[Situation, Settings], Iterator[tuple[str, str]]]


def find_conditions(situation: Situation, settings: Settings) -> list[Condition]:
    """Return everything that is wrong, in the order of the rules."""
    return [
        Condition(rule.name, subject, message)
        for rule in RULES
        if rule.name not in settings.alert_rules_off
        for subject, message in rule.find(situation, settings)
    ]


def _slots_missed(situation: Situation, settings: Settings) -> Iterator[tuple[str, str]]:
    for schedule in situation.schedules:
        missed = schedule.last_missed_slot
        is_over = schedule.last_slot is not None and missed is not None and schedule.last_slot > missed
        if missed is None or is_over or schedule.is_paused or schedule.was_paused or schedule.name in _ROUTINE_JOBS:
            continue
        yield schedule.name, f"The slot of {schedule.name} at {_show(missed, settings)} was missed: it became no run."


def _slots_late(situation: Situation, settings: Settings) -> Iterator[tuple[str, str]]:
    grace_s = settings.alert_start_grace_s
    is_waiting_explained = any(
        any(rule(situation, settings)) for rule in (_consumers_missing, _workers_stuck, _outbox_growing)
    )
    for job in sorted({*situation.history, *situation.unstarted} - _ROUTINE_JOBS):
        slot = situation.unstarted.get(job)
        if slot is not None and (situation.now - slot).total_seconds() > grace_s:
            if not is_waiting_explained:
                yield job, f"{job} was due at {_show(slot, settings)} and has not started."
            continue
        late_s = next((run.late_s for run in situation.history.get(job, ()) if run.late_s is not None), None)
        if late_s is not None and late_s > grace_s:
            yield job, f"{job} started {_span(late_s)} after its time."


def _runs_failed(situation: Situation, settings: Settings) -> Iterator[tuple[str, str]]:
    words = {"failed": "failed", "expired": "was not started in time", "partial": "ended with a part undone"}
    for job, runs in sorted(situation.history.items()):
        wrong = next((run for run in _find_newest(runs) if run.state in words and not run.is_acknowledged), None)
        if wrong is not None and job not in _ROUTINE_JOBS:
            yield job, f"{job} {words[wrong.state]}: {wrong.message or wrong.error_class or 'no reason is known'}"


def _find_newest(runs: Sequence[EndedRun]) -> list[EndedRun]:
    """Return the newest run of all, and of each series: another schedule's success says nothing of a failure."""
    ended = [run for run in runs if run.state != "cancelled"]
    of_series = {run.series: run for run in reversed(ended) if run.series is not None}
    return [*ended[:1], *of_series.values()]


def _runs_too_long(situation: Situation, settings: Settings) -> Iterator[tuple[str, str]]:
    for run in situation.running:
        taken_s = (situation.now - run.started_at).total_seconds()
        usual_s = _usual_s(situation, run.job)
        limit_s = max(settings.alert_run_grace_s, _LONG_FACTOR * (usual_s or 0))
        if taken_s > limit_s:
            usually = f"; usually it takes {_span(usual_s)}" if usual_s is not None else ""
            yield run.job, f"{run.job} has been running for {_span(taken_s)}{usually}."


def _runs_too_short(situation: Situation, settings: Settings) -> Iterator[tuple[str, str]]:
    for job, runs in sorted(situation.history.items()):
        newest, usual_s = runs[0], _usual_s(situation, job, skip=1)
        if newest.state != "succeeded" or newest.duration_s is None or usual_s is None or usual_s < _SHORT_LEAST_S:
            continue
        if newest.duration_s * _SHORT_FACTOR < usual_s:
            yield job, f"{job} took only {_span(newest.duration_s)}; usually it takes {_span(usual_s)}."


def _results_shrunk(situation: Situation, settings: Settings) -> Iterator[tuple[str, str]]:
    sizes = [
        int(run.evidence["size_bytes"])
        for run in situation.history.get("create_backup", ())
        if run.state in ("succeeded", "partial") and "size_bytes" in run.evidence
    ]
    if len(sizes) > 1 and sizes[0] < median(sizes[1 : 1 + _COMPARED]) * (1 - settings.alert_shrink_percent / 100):
        before = int(median(sizes[1 : 1 + _COMPARED]))
        yield "create_backup", f"The newest backup has {sizes[0]:,} bytes; those before had {before:,}."
    locks = [run for run in situation.history.get("lock_schedules", ()) if "locked" in run.evidence]
    if len(locks) > 1 and locks[0].evidence["locked"] == 0 and locks[1].evidence["locked"] > 0:
        # A unit that rests on one day of the week locks nothing on the same day each week.
        week_before = next((run for run in locks if _days(locks[0].finished_at, run.finished_at) == _WEEK), None)
        if week_before is not None and week_before.evidence["locked"] > 0:
            yield "lock_schedules", f"No schedule was locked; the day before it were {locks[1].evidence['locked']}."


def _consumers_missing(situation: Situation, settings: Settings) -> Iterator[tuple[str, str]]:
    missing = [
        item.queue
        for item in _unpaused(situation)
        if item.queue not in situation.served_queues
        and _age_s(situation, item.oldest_at) > settings.alert_queue_grace_s
    ]
    if missing:
        yield "", f"No worker takes these queues, and runs wait there: {', '.join(missing)}."


def _workers_stuck(situation: Situation, settings: Settings) -> Iterator[tuple[str, str]]:
    stuck = [
        item
        for item in _unpaused(situation)
        if item.queue in situation.served_queues
        and item.unsent < item.due
        and _age_s(situation, item.oldest_at) > settings.alert_start_grace_s
        and not any(run for run in situation.running if _age_s(situation, run.started_at) < settings.alert_run_grace_s)
    ]
    if stuck:
        words = ", ".join(f"{item.queue} ({item.due})" for item in stuck)
        yield "", f"Workers are alive but take nothing from these queues: {words}."


def _outbox_growing(situation: Situation, settings: Settings) -> Iterator[tuple[str, str]]:
    unsent = [
        item
        for item in _unpaused(situation)
        if item.unsent_at is not None
        and item.queue in situation.served_queues
        and _age_s(situation, item.unsent_at) > settings.alert_queue_grace_s
    ]
    if unsent:
        count = sum(item.unsent for item in unsent)
        yield "", f"{count} runs are recorded but not sent: the broker does not take messages."


def _queues_paused(situation: Situation, settings: Settings) -> Iterator[tuple[str, str]]:
    due = {item.queue: item.due for item in situation.waiting}
    for pause in situation.paused:
        if _age_s(situation, pause.paused_at) > settings.alert_queue_grace_s:
            reason = f' ("{pause.reason}")' if pause.reason else ""
            since = f"The queue {pause.queue} is paused since {_show(pause.paused_at, settings)} by {pause.paused_by}"
            yield pause.queue, f"{since}{reason}; {due.get(pause.queue, 0)} runs wait."


def _scheduler_silent(situation: Situation, settings: Settings) -> Iterator[tuple[str, str]]:
    if situation.schedules:
        newest = max(schedule.dispatched_until for schedule in situation.schedules)
        if _age_s(situation, newest) > _SCHEDULER_SILENT_S:
            yield "", f"No scheduler has decided anything since {_show(newest, settings)}: nothing starts by itself."


def _backup_old(situation: Situation, settings: Settings) -> Iterator[tuple[str, str]]:
    since = situation.verified_at or situation.known_since
    if not situation.wants_backups or since is None:
        return
    age_s = _age_s(situation, since)
    if age_s > settings.alert_backup_age_h * 3600:
        last = f"the last was {_span(age_s)} ago" if situation.verified_at else "there has never been one"
        yield "", f"No backup was proven to restore for over {settings.alert_backup_age_h} hours: {last}."


def _disk_full(situation: Situation, settings: Settings) -> Iterator[tuple[str, str]]:
    room = situation.disk
    if room is not None and room.free_bytes < max(
        settings.backup_min_free_bytes * 2, min(room.total_bytes * _DISK_SHARE, 20e9)
    ):
        yield "", f"Only {room.free_bytes / 1e9:.1f} GB are free in the backup folder."


def _drive_refuses(situation: Situation, settings: Settings) -> Iterator[tuple[str, str]]:
    if situation.drive.problem:
        yield "", f"Google Drive cannot be used: {situation.drive.problem}"


def _drive_full(situation: Situation, settings: Settings) -> Iterator[tuple[str, str]]:
    room = situation.drive.room
    if room is not None and room.free_bytes < room.total_bytes * _DRIVE_SHARE:
        yield "", f"Only {room.free_bytes / 1e9:.1f} of {room.total_bytes / 1e9:.0f} GB are free on Google Drive."


def _watch_interrupted(situation: Situation, settings: Settings) -> Iterator[tuple[str, str]]:
    last = situation.last_round_at
    if last is not None and _age_s(situation, last) > max(_GAP_LEAST_S, _GAP_ROUNDS * settings.watch_interval_s):
        yield "", f"Nobody watched from {_show(last, settings)} to {_show(situation.now, settings)}."


RULES = (
    Rule("slot_missed", "A slot was missed", _slots_missed),
    Rule("slot_late", "A job starts late", _slots_late),
    Rule("run_failed", "A run failed", _runs_failed),
    Rule("run_too_long", "A run takes too long", _runs_too_long),
    Rule("run_too_short", "A run was too short", _runs_too_short),
    Rule("result_shrunk", "A result shrank", _results_shrunk),
    Rule("queue_unserved", "A queue has no worker", _consumers_missing),
    Rule("workers_stuck", "Workers take nothing", _workers_stuck),
    Rule("outbox_growing", "Runs are not sent", _outbox_growing),
    Rule("queue_paused", "A queue is paused", _queues_paused),
    Rule("scheduler_silent", "No scheduler decides", _scheduler_silent),
    Rule("backup_old", "No recent verified backup", _backup_old),
    Rule("disk_full", "Little room in the backup folder", _disk_full),
    Rule("drive_refuses", "Google Drive cannot be used", _drive_refuses),
    Rule("drive_full", "Little room on Google Drive", _drive_full),
    Rule("watch_interrupted", "Nobody watched for a while", _watch_interrupted),
)


def _unpaused(situation: Situation) -> list[WaitingRuns]:
    paused = {pause.queue for pause in situation.paused}
    return [item for item in situation.waiting if item.queue not in paused]


def _usual_s(situation: Situation, job: str, *, skip: int = 0) -> float | None:
    taken = [run.duration_s for run in situation.history.get(job, ()) if run.state == "succeeded"][skip:]
    known = [duration_s for duration_s in taken if duration_s is not None]
    return median(known) if len(known) >= _COMPARED else None


def _age_s(situation: Situation, moment: datetime) -> float:
    return (situation.now - moment).total_seconds()


def _days(later: datetime, earlier: datetime) -> int:
    return round((later - earlier).total_seconds() / _DAY_S)


def _show(moment: datetime, settings: Settings) -> str:
    return f"{moment.astimezone(settings.zone):%Y-%m-%d %H:%M}"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours"
