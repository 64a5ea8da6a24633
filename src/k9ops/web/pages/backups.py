"""Backups: making one, pinning, verifying now and downloading."""

from __future__ import annotations

from starlette.responses import FileResponse, Response

from k9ops.backups.audit import record_event
from k9ops.backups.catalogue import Backup, is_backup_id, load_backup, pin, unpin
from k9ops.backups.connections import target_of
from k9ops.broker.enqueue import enqueue_run
from k9ops.broker.jobs import find_actor
from k9ops.errors import BackupNotFound, ParamsInvalid
from k9ops.web.visit import Visit


def change_pin(visit: Visit) -> Response:
    """Pin a backup, or let retention decide again."""
    backup, reason = find_backup(visit), visit.reason()
    is_pinned = backup.is_pinned
    if is_pinned:
        unpin(backup)
    else:
        pin(backup, reason)
    _note(visit, backup, "unpin" if is_pinned else "pin", reason)
    return visit.go(f"/backups/{backup.backup_id}", done="unpinned" if is_pinned else "pinned")


def verify(visit: Visit) -> Response:
    """Ask a worker to restore and compare a backup now."""
    desk, backup, reason = visit.desk, find_backup(visit), visit.reason()
    asked = enqueue_run(
        desk.engine,
        desk.broker,
        desk.settings,
        find_actor(desk.broker, "verify_backup"),
        {"backup_id": backup.backup_id},
        trigger="web",
        requested_by=visit.person,
        origin=visit.origin,
        reason=reason,
    )
    return visit.go(f"/runs/{asked.run_id}", done="requested")


def create(visit: Visit) -> Response:
    """Ask a worker for a backup now, whatever the application's settings say."""
    desk, reason = visit.desk, visit.reason()
    asked = enqueue_run(
        desk.engine,
        desk.broker,
        desk.settings,
        find_actor(desk.broker, "create_backup"),
        {"only_if_enabled": False},
        trigger="web",
        requested_by=visit.person,
        origin=visit.origin,
        reason=reason,
    )
    return visit.go(f"/runs/{asked.run_id}", done="requested")


def download(visit: Visit) -> Response:
    """Hand out an archive to an admin who typed its id."""
    backup, reason = find_backup(visit), visit.reason()
    if visit.form.get("confirm", "").strip() != backup.backup_id:
        raise ParamsInvalid(visit.speech.say("Type the id of the backup to confirm."))
    _note(visit, backup, "download", reason)
    return FileResponse(backup.archive_path, filename=backup.archive_path.name, media_type="application/octet-stream")


def find_backup(visit: Visit) -> Backup:
    """Return the backup that an address names.

    Raises:
        BackupNotFound: There is none.
    """
    backup_id = visit.request.path_params["backup_id"]
    if not is_backup_id(backup_id):
        raise BackupNotFound(visit.speech.say("There is no such backup."))
    return load_backup(visit.desk.settings.backup_dir, backup_id)


def _note(visit: Visit, backup: Backup, action: str, reason: str) -> None:
    settings = visit.desk.settings
    record_event(
        target_of(settings.sqlalchemy_url, settings),
        actor=visit.person,
        action=action,
        target_type="backup",
        target_id=backup.backup_id,
        origin=visit.origin,
        reason=reason,
    )
