"""Check of the scheduler: that one has decided what is due lately."""

from __future__ import annotations

from collections.abc import Iterator

from k9ops.cli.checks.finding import Finding
from k9ops.cli.output import format_duration
from k9ops.db.engine import get_engine
from k9ops.ledger.slots import read_clock, read_schedule_states

# A scheduler decides every minute; one that missed two is away, or its clock is far off.
_LATEST_S = 150.0


def check_scheduler() -> Iterator[Finding]:
    """Check that a scheduler runs, by how far the schedules are.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    engine = get_engine()
    states = read_schedule_states(engine).values()
    advice = "Start a scheduler: `periodiq k9ops.periodic`, or `k9ops up` for everything."
    if not states:
        yield Finding("scheduler", "fail", "No scheduler has run on this database yet.", advice)
        return
    silent_s = (read_clock(engine) - max(state.dispatched_until for state in states)).total_seconds()
    if silent_s > _LATEST_S:
        yield Finding("scheduler", "fail", f"No scheduler has rung for {format_duration(silent_s)}.", advice)
        return
    paused = [f"{state.name} (by {state.paused_by})" for state in states if state.paused_at]
    if paused:
        resume = "`k9ops schedule resume NAME` lets it go on."
        yield Finding("scheduler", "warn", f"It runs; paused: {', '.join(paused)}.", resume)
        return
    yield Finding("scheduler", "ok", f"It decided what is due {format_duration(max(silent_s, 0.0))} ago.")
