"""A file that is no backup, beside the backups on Google Drive."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from k9ops.backups.application import read_wishes
from k9ops.backups.drive_access import open_drive, use_folder
from k9ops.config.settings import Settings
from k9ops.drive.local import read_local_file
from k9ops.drive.patience import Patience
from k9ops.drive.upload import UploadMark, UploadOptions, upload_file
from k9ops.outcome import Execution


def upload_beside_backups(
    settings: Settings, engine: Engine, path: Path, *, name: str, execution: Execution
) -> dict[str, Any]:
    """Upload a small file into the folder for backups, unless it is there, and return the evidence.

    Args:
        settings: Address, time-outs, keys.
        engine: The database with the credentials.
        path: The file.
        name: Its name there; a second upload under the same name finds the first.
        execution: Asked whether to stop; told the bytes.

    Raises:
        K9opsError: As `open_drive`, `use_folder` and `upload_file`.
    """
    local = replace(read_local_file(path, properties={}, execution=execution), name=name)

    def report(confirmed: int) -> None:
        execution.report_progress(confirmed, local.size_bytes, "bytes")

    with open_drive(settings, engine, execution=execution) as store:
        folder = use_folder(settings, engine, read_wishes(engine), store)
        options = UploadOptions(settings.drive_chunk_bytes, Patience(), execution, report)
        done = upload_file(store, local, folder.file_id, memory=_NoMemory(), options=options)
    return {"file_id": done.file.file_id, "folder_id": folder.file_id, "found_on_drive": done.is_found}


class _NoMemory:
    """Keeps the mark as long as the process lives: a small file starts over."""

    def __init__(self) -> None:
        self._mark: UploadMark | None = None

    def load(self) -> UploadMark | None:
        """Return the mark."""
        return self._mark

    def save(self, mark: UploadMark) -> None:
        """Keep the mark."""
        self._mark = mark
