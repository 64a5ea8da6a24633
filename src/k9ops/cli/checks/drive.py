"""Checks of Google Drive: credentials that dumps do not give away, the folder, the room, the newest copy."""

from __future__ import annotations

from collections.abc import Iterator

from k9ops.backups.application import has_readable_tokens, read_wishes
from k9ops.backups.catalogue import list_backups
from k9ops.backups.drive_access import look_for_folder, open_drive
from k9ops.backups.drive_copies import list_copies
from k9ops.cli.checks.finding import Finding
from k9ops.cli.output import format_bytes
from k9ops.config.settings import Settings
from k9ops.db.engine import get_engine
from k9ops.outcome import Execution

_NAME = "google drive"


def check_drive_credentials(settings: Settings) -> Iterator[Finding]:
    """Check whether dumps give Drive away, also where it is switched off; encrypted ones do not."""
    if has_readable_tokens(get_engine()) and not settings.recipients:
        yield Finding(
            "drive credentials",
            "warn",
            "Every dump of this database holds readable keys to Google Drive, also those that are uploaded there.",
            "Set K9OPS_SECRET_KEY and run `k9ops drive seal`.",
        )


def check_drive(settings: Settings) -> Iterator[Finding]:
    """Check Drive where it is switched on.

    Raises:
        K9opsError: It does not work; says why.
    """
    engine = get_engine()
    wishes = read_wishes(engine)
    if not wishes.google_drive_enabled:
        yield Finding(_NAME, "ok", "It is switched off in the application's backup settings.")
        return
    with open_drive(settings, engine, execution=Execution()) as store:
        folder = look_for_folder(settings, engine, wishes, store)
        quota = store.read_quota()
        copies = [copy for copy in list_copies(store, folder) if copy.is_whole]
    backups = list_backups(settings.backup_dir).backups
    newest = next((backup for backup in backups if backup.verification_state == "verified"), None)
    needed = newest.size_bytes if newest else 0
    where = f"{folder.name!r} of {quota.account}" if folder else f"the drive of {quota.account}"
    place = f"{len(copies)} copies in {where}"
    is_shared = folder is not None and folder.shared_drive_id is not None
    if not is_shared and quota.free_bytes is not None and quota.free_bytes < needed:
        yield Finding(
            _NAME, "fail", f"{place}; {format_bytes(quota.free_bytes)} are free, a backup needs more.", "Make room."
        )
    elif newest is not None and newest.backup_id not in {copy.backup_id for copy in copies}:
        advice = f"`k9ops runs list --job upload_backup` says why; `k9ops drive push {newest.backup_id}` uploads it."
        yield Finding(_NAME, "warn", f"{place}; the newest backup is not there yet.", advice)
    else:
        yield Finding(_NAME, "ok", f"{place}.")
