"""Check of the scheduler: that one has decided what is due lately."""

from __future__ import annotations

from collections.abc import Iterator

from k9ops.cli.checks.finding import Finding
from k9ops.cli.output import format_duration
from k9ops.config.settings import Settings
from k9ops.db.backup_settings import BackupSettings
from k9ops.db.engine import get_engine
from k9ops.ledger.slots import read_clock, read_schedule_states
from k9ops.periodic.timetable import build_timetable

# A scheduler decides every minute; one that missed two is away, or its clock is far off.
_LATEST_S = 150.0


def check_scheduler(settings: Settings) -> Iterator[Finding]:
    """Check that a scheduler runs and decides every schedule, by how far they are.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    engine = get_engine()
    states, now = read_schedule_states(engine), read_clock(engine)
    advice = "Start a scheduler: `periodiq k9ops.periodic`, or `k9ops up` for everything."
    if not states:
        yield Finding("scheduler", "fail", "No scheduler has run on this database yet.", advice)
        return
    names = [schedule.name for schedule in build_timetable(settings, BackupSettings())]
    silences_s = {name: (now - state.dispatched_until).total_seconds() for name, state in states.items()}
    silent_s = min(silences_s.values())
    if silent_s > _LATEST_S:
        yield Finding("scheduler", "fail", f"No scheduler has rung for {format_duration(silent_s)}.", advice)
        return
    behind = [name for name in names if silences_s.get(name, _LATEST_S + 1) > _LATEST_S]
    if behind:
        why = "The scheduler's log says why; it may be away, or of an older version."
        yield Finding("scheduler", "fail", f"Not decided lately: {', '.join(behind)}.", why)
        return
    paused = [f"{name} (by {states[name].paused_by})" for name in names if states[name].paused_at]
    if paused:
        resume = "`k9ops schedule resume NAME` lets it go on."
        yield Finding("scheduler", "warn", f"It runs; paused: {', '.join(paused)}.", resume)
        return
    yield Finding("scheduler", "ok", f"It decided what is due {format_duration(max(silent_s, 0.0))} ago.")
