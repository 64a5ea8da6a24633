"""The first page: are we safe?"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.responses import Response

from k9ops.alerts.listing import list_incidents
from k9ops.backups.application import read_wishes
from k9ops.backups.catalogue import list_backups
from k9ops.db.engine import database_errors
from k9ops.ledger.processes import list_processes
from k9ops.ledger.queues import read_pauses
from k9ops.ledger.requests import list_runs
from k9ops.periodic.looking import look_at_schedules
from k9ops.web.visit import Desk, Visit

_OLD_AFTER = {"DAILY": timedelta(days=2), "WEEKLY": timedelta(days=9), "MONTHLY": timedelta(days=33)}
_LATE = timedelta(minutes=5)
_FAILURES_SHOWN = 5
# Rules that tell of what is over, or wanted.
_NOTES = {"run_failed", "run_too_long", "run_too_short", "slot_late", "queue_paused", "watch_interrupted"}


@dataclass(frozen=True)
class Worry:
    """Something that keeps the unit from being safe.

    Attributes:
        level: `fail` or `warn`.
        text: English, with places for `values`; it is translated where it is shown.
        values: For its places.
        link: Page that says more.
    """

    level: str
    text: str
    values: dict[str, Any]
    link: str


def show_overview(visit: Visit) -> Response:
    """Show the page."""
    return visit.render("overview.html", **gather(visit.desk))


def gather(desk: Desk) -> dict[str, Any]:
    """Return what the page shows, the same for everybody."""
    settings, now = desk.settings, datetime.now(UTC)
    listing = list_backups(settings.backup_dir)
    verified = next((item for item in listing.backups if item.verification_state == "verified"), None)
    schedules = look_at_schedules(settings, desk.engine, with_last_runs=False)
    processes = [item for item in list_processes(desk.engine) if not item.is_silent]
    folder = settings.backup_dir.absolute()
    disk = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists()))
    failed = list_runs(
        desk.engine, states=("failed",), since=now - timedelta(days=1), also_acknowledged=False, limit=_FAILURES_SHOWN
    )
    locks = list_runs(desk.engine, job="lock_schedules", states=("succeeded", "skipped", "partial"), limit=1)
    wishes = read_wishes(desk.engine)
    worries: list[Worry] = []
    if verified is None:
        worries.append(Worry("fail", "There is no verified backup.", {}, "/backups"))
    elif wishes.wants_backups and now - verified.created_at > _OLD_AFTER[wishes.backup_frequency]:
        worries.append(Worry("fail", "The last verified backup is too old.", {}, "/backups"))
    if not wishes.wants_backups:
        worries.append(Worry("warn", "Automatic backups are switched off.", {}, "/schedules"))
    for problem in listing.problems:
        worries.append(Worry("warn", "In the backup folder: %(name)s", {"name": problem.name}, "/backups"))
    served = {queue for item in processes for queue in item.queues}
    for queue in sorted(desk.broker.get_declared_queues() - served):
        worries.append(Worry("fail", "No worker serves the queue %(queue)s.", {"queue": queue}, "/queues"))
    for queue in read_pauses(desk.engine):
        worries.append(Worry("warn", "The queue %(queue)s is paused.", {"queue": queue}, "/queues"))
    if not any(item.kind == "scheduler" for item in processes):
        worries.append(Worry("fail", "No scheduler runs.", {}, "/queues"))
    for view in schedules:
        if view.is_paused:
            words = "The schedule %(name)s is paused."
            worries.append(Worry("warn", words, {"name": view.schedule.name}, "/schedules"))
        elif view.state and view.schedule.cron and now - view.state.dispatched_until > _LATE:
            words = "The schedule %(name)s is overdue."
            worries.append(Worry("fail", words, {"name": view.schedule.name}, "/schedules"))
    if disk.free < settings.backup_min_free_bytes + (verified.size_bytes if verified else 0):
        worries.append(Worry("fail", "Too little room for another backup.", {}, "/backups"))
    if failed:
        worries.append(Worry("warn", "Runs failed in the last day.", {}, "/runs?state=failed"))
    with database_errors(), desk.engine.begin() as connection:
        incidents = list_incidents(connection)
    if incidents:
        level = "warn" if {item.rule for item in incidents} <= _NOTES else "fail"
        worries.append(
            Worry(level, "The watchman reports what is wrong: %(count)s.", {"count": len(incidents)}, "/alerts")
        )
    upcoming = sorted((view for view in schedules if view.next_slot), key=lambda view: view.next_slot or now)
    return {
        "worries": worries,
        "is_safe": not any(worry.level == "fail" for worry in worries),
        "verified": verified,
        "last_lock": locks[0] if locks else None,
        "upcoming": [view for view in upcoming if not view.is_paused][:6],
        "failed": failed,
        "running": list_runs(desk.engine, states=("running",), limit=10),
        "disk": disk,
        "now": now,
    }
