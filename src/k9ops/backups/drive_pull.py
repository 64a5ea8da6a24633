"""Fetching a backup back from Google Drive."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from k9ops.backups.catalogue import Backup, digests_of, load_backup, manifest_path, pin
from k9ops.backups.drive_copies import RemoteBackup, list_copies
from k9ops.backups.drive_packs import read_manifest
from k9ops.backups.manifest import BackupState
from k9ops.backups.upload import note_copy
from k9ops.backups.uploads_packs import hash_file, packs_held
from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.drive.patience import Patience
from k9ops.drive.store import DriveStore, RemoteFile
from k9ops.durable import disk_errors, fsync_folder, open_folder, open_partial, write_durably
from k9ops.errors import BackupDamaged, BackupNotFound, DriveUnavailable, ParamsInvalid
from k9ops.outcome import Execution

log = get_logger("k9ops.backups")


def pull_copy(
    settings: Settings,
    store: DriveStore,
    folder: RemoteFile | None,
    name: str,
    *,
    execution: Execution,
    patience: Patience | None = None,
) -> Backup:
    """Fetch a backup from Google Drive into the backup folder, where it counts as unverified; or mend a damaged one.

    Args:
        settings: The backup folder.
        store: The drive.
        folder: On the drive; None has no backups.
        name: Id of a backup, or the beginning of one.
        execution: Asked whether to stop; told the bytes.
        patience: With connections that fail; None is the usual one.

    Raises:
        BackupNotFound: None there has this id, or several begin with it.
        ParamsInvalid: The backup is in the folder already, whole as far as can be seen.
        BackupDamaged: The copy is not whole, or its bytes are not what the manifest says; nothing is kept.
    """
    copy = _find_copy(list_copies(store, folder), name)
    target = open_folder(settings.backup_dir)
    with contextlib.suppress(BackupNotFound, BackupDamaged):
        if load_backup(target, copy.backup_id).verification_state != "failed":
            raise ParamsInvalid(f"Backup {copy.backup_id} is in the folder already.")
    manifest, content = read_manifest(store, copy)
    there = {file.name: file for file in (*copy.files, *copy.packs)}
    digests = digests_of(Backup(target, manifest, BackupState()))
    missing = sorted(path.name for path in digests if path.name not in there)
    if folder is None or missing:
        raise BackupDamaged(f"The copy of backup {copy.backup_id} on Google Drive is not whole: no {missing[0]}.")
    files = [there[path.name] for path in digests]
    size_bytes = sum(file.size_bytes or 0 for file in files)
    with packs_held(target):
        pull = _Pull(store, target, size_bytes, execution, patience or Patience())
        for path, sha256 in digests.items():
            pull.fetch(there[path.name], sha256)
        write_durably(manifest_path(target, copy.backup_id), content)
    backup = load_backup(target, copy.backup_id)
    note_copy(backup, folder, [*files, there[manifest_path(target, copy.backup_id).name]])
    if copy.is_pinned and not backup.is_pinned:
        pin(backup, "It was pinned on Google Drive.")
    log.info("copy.pulled", backup_id=copy.backup_id, size_bytes=size_bytes)
    return load_backup(target, copy.backup_id)


class _Pull:
    """The files of one backup on their way into the folder; each has its name there only when it is whole."""

    def __init__(
        self,
        store: DriveStore,
        folder: Path,
        total: int,
        execution: Execution,
        patience: Patience,
    ) -> None:
        self._store = store
        self._folder = folder
        self._total = total
        self._execution = execution
        self._patience = patience
        self._done = 0

    def fetch(self, remote: RemoteFile, expected_sha256: str) -> None:
        """Fetch one file, unless it is there; a connection that fails is taken up where it ended."""
        path = self._folder / remote.name
        if path.exists() and hash_file(path, execution=self._execution) == expected_sha256:
            self._done += remote.size_bytes or 0
            return
        partial = self._folder / f".{remote.name}.partial"
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        wanted = remote.size_bytes or 0
        got = failures = 0
        with disk_errors(), open_partial(partial) as file:
            while got < wanted:
                try:
                    for piece in self._store.read_file(remote.file_id, offset=got):
                        self._execution.check_stop()
                        file.write(piece)
                        sha256.update(piece)
                        md5.update(piece)
                        got += len(piece)
                        failures = 0
                        self._execution.report_progress(self._done + got, self._total, "bytes")
                    if got < wanted:
                        raise DriveUnavailable("Google Drive ended a download early.")
                except DriveUnavailable as exc:
                    failures += 1
                    if failures > self._patience.max_failures:
                        raise
                    self._patience.wait(failures, exc.retry_after_s, self._execution)
            if sha256.hexdigest() != expected_sha256 or remote.md5 not in (None, md5.hexdigest()):
                raise BackupDamaged(f"{remote.name} on Google Drive is not what was uploaded; it is not kept.")
            file.flush()
            os.fsync(file.fileno())
            partial.rename(path)
        fsync_folder(self._folder)
        self._done += got


def _find_copy(copies: Sequence[RemoteBackup], name: str) -> RemoteBackup:
    fitting = [copy for copy in copies if name and copy.backup_id.startswith(name)]
    if not fitting:
        raise BackupNotFound(f"There is no backup {name} on Google Drive.")
    if len(fitting) > 1:
        raise BackupNotFound(f"{len(fitting)} backups on Google Drive begin with {name}.")
    return fitting[0]
