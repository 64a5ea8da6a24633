"""Backups and where their copies are: the list, one of them, and bringing it to Google Drive."""

from __future__ import annotations

from sqlalchemy import Engine
from starlette.responses import Response

from k9ops.backups.catalogue import list_backups
from k9ops.broker.enqueue import enqueue_run
from k9ops.broker.jobs import find_actor
from k9ops.ledger.model import Run
from k9ops.ledger.requests import list_runs
from k9ops.web.pages.backups import find_backup
from k9ops.web.visit import Visit

_JOB = "upload_backup"
_LOOKED_AT = 200


def find_uploads(engine: Engine) -> dict[str, Run]:
    """Return the newest upload of each backup, by the backup's id; only lately requested ones are looked at."""
    found: dict[str, Run] = {}
    for run in list_runs(engine, job=_JOB, limit=_LOOKED_AT):
        found.setdefault(str(run.params.get("backup_id")), run)
    return found


def show_backups(visit: Visit) -> Response:
    """Show all backups, and where each is."""
    listing = list_backups(visit.desk.settings.backup_dir)
    largest = max((item.size_bytes for item in listing.backups), default=0) or 1
    return visit.render(
        "backups.html",
        backups=listing.backups,
        problems=listing.problems,
        largest=largest,
        uploads=find_uploads(visit.desk.engine),
    )


def show_backup(visit: Visit) -> Response:
    """Show one backup."""
    backup = find_backup(visit)
    return visit.render("backup.html", backup=backup, upload=find_uploads(visit.desk.engine).get(backup.backup_id))


def upload(visit: Visit) -> Response:
    """Ask a worker to bring a backup to Google Drive now; an upload that waits or is at work is shown instead."""
    desk, backup, reason = visit.desk, find_backup(visit), visit.reason()
    last = find_uploads(desk.engine).get(backup.backup_id)
    if last is not None and not last.is_final:
        return visit.go(f"/runs/{last.id}")
    asked = enqueue_run(
        desk.engine,
        desk.broker,
        desk.settings,
        find_actor(desk.broker, _JOB),
        {"backup_id": backup.backup_id, "only_if_enabled": False},
        trigger="web",
        requested_by=visit.person,
        origin=visit.origin,
        reason=reason,
    )
    return visit.go(f"/runs/{asked.run_id}", done="requested")
