"""The folder for backups: found, or made once even when several look for it at the same moment."""

from __future__ import annotations

from datetime import datetime

from k9ops.drive.store import DriveStore, RemoteFile
from k9ops.errors import DriveFileMissing, DriveFolderMissing

FOLDER_NAME = "K9 Database Backups"
_ADVICE = (
    "Where one is chosen, in the application's backup settings or K9OPS_DRIVE_FOLDER_ID, choose another; in place of"
    " one that k9ops made, `k9ops drive folder --new` makes another."
)


def open_folder(store: DriveStore, folder_id: str) -> RemoteFile:
    """Return a folder that was chosen or made before.

    Raises:
        DriveFolderMissing: It is gone, in the trash, out of reach, or no folder.
    """
    try:
        folder = store.get_file(folder_id)
    except DriveFileMissing as exc:
        raise DriveFolderMissing(
            f"The folder for backups is not on Google Drive any more, or was not shared with this account. {_ADVICE}",
            folder_id=folder_id,
        ) from exc
    if folder.is_trashed:
        raise DriveFolderMissing(
            f"The folder {folder.name!r} is in the trash of Google Drive. Take it out of there. {_ADVICE}",
            folder_id=folder_id,
        )
    if not folder.is_folder:
        raise DriveFolderMissing(f"{folder.name!r} on Google Drive is no folder.", folder_id=folder_id)
    return folder


def find_or_make_folder(store: DriveStore, name: str = FOLDER_NAME) -> RemoteFile:
    """Return the oldest folder of a name; make it when there is none.

    Whoever finds, after making one, that an older one is there deletes its own, which is empty, and takes the
    older one. All that look at the same moment agree on one so, without a lock.
    """
    found = find_folder(store, name)
    if found is not None:
        return found
    made = store.make_folder(name)
    oldest = find_folder(store, name)
    if oldest is None or oldest.file_id == made.file_id or _rank(made) < _rank(oldest):
        return made
    store.delete_file(made.file_id)
    return oldest


def find_folder(store: DriveStore, name: str = FOLDER_NAME) -> RemoteFile | None:
    """Return the oldest folder of a name, None when there is none."""
    return min(store.find_folders(name), key=_rank, default=None)


def _rank(folder: RemoteFile) -> tuple[datetime, str]:
    return folder.created_at, folder.file_id
