"""Checks of what a backup needs: a client that suits the server, and room in a folder for its owner alone."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from k9ops.backups.application import read_wishes
from k9ops.backups.catalogue import list_backups
from k9ops.backups.clients import choose_client, find_clients
from k9ops.backups.drills import find_drill
from k9ops.backups.keys import read_key_file
from k9ops.cli.checks.database import read_server_version
from k9ops.cli.checks.finding import Finding
from k9ops.cli.output import format_bytes, format_moment
from k9ops.config.settings import Settings
from k9ops.db.backup_settings import BackupSettings
from k9ops.db.engine import get_engine
from k9ops.errors import DatabaseUnavailable

_OLD_AFTER = {"DAILY": timedelta(days=2), "WEEKLY": timedelta(days=9), "MONTHLY": timedelta(days=33)}

_DRILL_DAYS = 180


def check_clients(settings: Settings) -> Iterator[Finding]:
    """Check that a pg_dump and a pg_restore suit the server.

    Raises:
        ClientUnsuitable: None does; says what to install.
        DatabaseUnavailable: The server's version is not known.
    """
    major, version = read_server_version()
    client = choose_client(find_clients(settings), server_major=major)
    place = f"pg_dump and pg_restore {client.version} in {client.folder} suit the server ({version})."
    yield Finding("pg_dump", "ok", place)


def check_backup_folder(settings: Settings) -> Iterator[Finding]:
    """Check the backup folder's mode, and the room on its disk."""
    name, folder = "backup folder", settings.backup_dir.absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if existing == folder and not folder.is_dir():
        yield Finding(name, "fail", f"{folder} is not a folder.", "Correct K9OPS_BACKUP_DIR.")
        return
    if not os.access(existing, os.W_OK | os.X_OK):
        yield Finding(
            name, "fail", f"This user may not write to {existing}.", "Correct its owner, or K9OPS_BACKUP_DIR."
        )
        return
    mode = stat.S_IMODE(folder.stat().st_mode) if existing == folder else 0o700
    if mode & 0o077:
        yield Finding(name, "warn", f"Others may look into {folder} (mode {mode:o}).", f"chmod 700 {folder}")
    free = shutil.disk_usage(existing).free
    newest = next((backup.size_bytes for backup in list_backups(folder).backups), 0)
    needed = settings.backup_min_free_bytes + newest
    room = f"{format_bytes(free)} free on the disk of {folder}"
    if free < needed:
        yield Finding(name, "fail", f"{room}; a backup needs {format_bytes(needed)}.", "Make room, or add a disk.")
    elif free < needed + 3 * newest:
        yield Finding(name, "warn", f"{room}: enough for few more backups.", "Make room, or add a disk.")
    else:
        yield Finding(name, "ok", f"{room}.")


def check_uploads_folder(settings: Settings) -> Iterator[Finding]:
    """Check that the uploads folder, if one is set, can be read."""
    name, folder = "uploads folder", settings.uploads_dir
    if folder is None:
        return
    if not folder.is_dir():
        yield Finding(name, "fail", f"There is no folder {folder}.", "Mount it, or correct K9OPS_UPLOADS_DIR.")
    elif not os.access(folder, os.R_OK | os.X_OK):
        advice = "Give it the right to, or correct K9OPS_UPLOADS_DIR."
        yield Finding(name, "fail", f"This user may not read {folder}.", advice)
    else:
        yield Finding(name, "ok", f"{folder} can be read.")


def check_last_backup(settings: Settings) -> Iterator[Finding]:
    """Check that there is a verified backup, not older than the application's schedule lets expect."""
    name, listing = "last backup", list_backups(settings.backup_dir)
    for problem in listing.problems:
        yield Finding(name, "warn", f"{problem.name}: {problem.reason}", "`k9ops backup list` shows what can be used.")
    verified = next((item for item in listing.backups if item.verification_state == "verified"), None)
    if verified is None:
        found = f"None of {len(listing.backups)} backups is verified." if listing.backups else "There is no backup yet."
        yield Finding(name, "warn", found, "`k9ops backup create` makes one and verifies it.")
        return
    age = datetime.now(UTC) - verified.created_at
    found = f"{verified.backup_id} of {format_moment(verified.created_at, settings.zone)} is verified."
    try:
        wishes = read_wishes(get_engine())
    except DatabaseUnavailable:
        wishes = BackupSettings()
    if wishes.wants_backups and age > _OLD_AFTER[wishes.backup_frequency]:
        advice = "Look at `k9ops runs list --job create_backup`."
        yield Finding(name, "warn", f"{found} Newer ones are missing ({wishes.backup_frequency}).", advice)
    else:
        yield Finding(name, "ok", found)


def check_backup_keys(settings: Settings) -> Iterator[Finding]:
    """Check that a private key of the recipients is known to exist, and that one on this machine can be used.

    Raises:
        KeyUnsuitable: The file of `K9OPS_BACKUP_IDENTITY_FILE` is no key.
    """
    name, recipients = "backup keys", settings.recipients
    if settings.backup_identity_file is not None:
        keys = read_key_file(settings.backup_identity_file)
        if settings.backup_identity_file.stat().st_mode & 0o077:
            path = settings.backup_identity_file
            yield Finding(name, "warn", f"Others may read the private key in {path}.", f"chmod 600 {path}")
        if recipients and keys.fits(recipients):
            found = "The private key of the backups is on the machine that makes them."
            yield Finding(
                name, "warn", found, "Unset K9OPS_BACKUP_IDENTITY_FILE here; a verifying machine may have it."
            )
    if not recipients:
        return
    drill = find_drill(settings.backup_dir.absolute(), recipients)
    advice = "`k9ops backup verify ID --identity FILE` with the newest backup; then put the key away again."
    if drill is None:
        yield Finding(name, "warn", "No private key of K9OPS_BACKUP_RECIPIENTS has opened a backup yet.", advice)
        return
    found = f"A private key last opened a backup ({drill.backup_id}) on {format_moment(drill.at, settings.zone)}."
    is_old = datetime.now(UTC) - drill.at > timedelta(days=_DRILL_DAYS)
    yield Finding(name, "warn" if is_old else "ok", found, advice if is_old else "")
