"""How far the upload of a backup is: a file beside its archive, for its owner alone.

The address of an upload is a secret. It stands where the archive itself stands: whoever can read it there has the
bytes that it is for already, and whoever goes on with the upload needs both. So it is in no database and no dump.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from k9ops.backups.catalogue import Backup, upload_path
from k9ops.drive.upload import UploadMark
from k9ops.durable import open_partial, write_durably
from k9ops.errors import TransientError, UploadBusy


class FileMemory:
    """The mark of one file, in the marks of its backup.

    Args:
        path: `ID.upload.json`.
        name: Of the file.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name

    def load(self) -> UploadMark | None:
        """Return the mark; one that cannot be read counts as none, and the upload finds its file by its key."""
        entry = _read(self._path).get(self._name)
        try:
            return UploadMark(**entry) if isinstance(entry, dict) else None
        except TypeError:
            return None

    def save(self, mark: UploadMark) -> None:
        """Keep a mark, safe from a power cut."""
        marks = {**_read(self._path), self._name: asdict(mark)}
        write_durably(self._path, json.dumps(marks, indent=2).encode() + b"\n")


@contextmanager
def uploading(backup: Backup) -> Iterator[Path]:
    """Let one process at a time upload from a folder, as backups share packs; the block gets the path of the marks.

    Raises:
        UploadBusy: Another one does, on this machine or on one that shares the folder.
    """
    lock = backup.folder / ".upload.partial"
    entered = False
    try:
        with open_partial(lock):
            entered = True
            yield upload_path(backup.folder, backup.backup_id)
    except TransientError as exc:
        if entered:
            raise
        raise UploadBusy("A backup is being uploaded by another process.") from exc


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
