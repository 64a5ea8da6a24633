"""The folder of finished reports: a file, and its description, written last: a report is whole or not there."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import BufferedRandom
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, Literal, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from k9ops.durable import disk_errors, fsync_folder, open_folder, open_partial, remove_abandoned, write_durably
from k9ops.errors import ArtefactDamaged, ArtefactNotFound

Format = Literal["pdf", "xlsx", "csv"]
FORMATS: tuple[Format, ...] = ("pdf", "xlsx", "csv")

_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
_WORK_PREFIX = ".work-"
_UNFINISHED_AFTER = timedelta(days=1)
_MARKS_KEPT = timedelta(days=60)

#: Of the mark that a run leaves while it sends an e-mail.
SENDING_PREFIX = ".sending-"


class Artefact(BaseModel):
    """A finished report's description, `ID.json` beside its file `ID.FORMAT`.

    Attributes:
        artefact_id: Moment of the request and the beginning of the run's id.
        report: Key of the report.
        title: As it stands in the file.
        params: As they were given.
        format: Also the file's ending.
        language: Of the file.
        generation: Of the application.
        row_count: Rows of all sections.
        pages: Of a PDF; None for others.
        size_bytes: Of the file.
        sha256: Of the file.
        data_sha256: Of definition, parameters and rows.
        look_sha256: Of everything else that the file shows: digits, names, logo, who asked.
        requested_by: Who asked; None when unknown.
        created_at: Aware UTC.
        expires_at: When it is deleted; aware UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    artefact_id: str
    report: str
    title: str
    params: dict[str, Any]
    format: Format
    language: str
    generation: str
    row_count: int
    pages: int | None
    size_bytes: int
    sha256: str
    data_sha256: str
    look_sha256: str
    requested_by: str | None
    created_at: datetime
    expires_at: datetime

    @property
    def file_name(self) -> str:
        """Name of the file in the folder."""
        return f"{self.artefact_id}.{self.format}"

    @property
    def evidence(self) -> dict[str, Any]:
        """What a run keeps of it, JSON values."""
        kept = ("artefact_id", "report", "format", "size_bytes", "sha256", "data_sha256", "pages")
        found = {
            name: value for name, value in self.model_dump(mode="json").items() if name in kept and value is not None
        }
        return {**found, "rows": self.row_count, "expires_at": self.expires_at.isoformat()}


def make_artefact_id(moment: datetime, run_id: uuid.UUID) -> str:
    """Return the id of the report of a run: the same for all its attempts."""
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}-{run_id.hex[:8]}"


def store_file(folder: Path, name: str, write: Callable[[BinaryIO], None]) -> tuple[int, str]:
    """Write a file whole, for its owner alone, and return its size and SHA-256."""
    path = open_folder(folder) / name
    temporary = path.with_name(f".{name}.partial")
    with disk_errors(), open_partial(temporary) as file:
        write(file)
        file.flush()
        file.seek(0)
        digest = hashlib.file_digest(cast(BufferedRandom, file), "sha256").hexdigest()
        size = os.fstat(file.fileno()).st_size
        os.fsync(file.fileno())
        temporary.rename(path)
    fsync_folder(path.parent)
    return size, digest


def store_description(folder: Path, artefact: Artefact) -> None:
    """Write the description; from now on the report is there."""
    write_durably(folder / f"{artefact.artefact_id}.json", artefact.model_dump_json(indent=2).encode())


def list_artefacts(folder: Path) -> list[Artefact]:
    """Return the finished reports, newest first; a description that cannot be read is left out."""
    found = []
    for path in folder.glob("*.json") if folder.is_dir() else ():
        try:
            artefact = Artefact.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            continue
        if artefact.artefact_id == path.stem and (folder / artefact.file_name).is_file():
            found.append(artefact)
    return sorted(found, key=lambda artefact: (artefact.created_at, artefact.artefact_id), reverse=True)


def load_artefact(folder: Path, prefix: str) -> Artefact:
    """Return the report whose id begins with a text that a person typed.

    Raises:
        ArtefactNotFound: None or more than one does.
    """
    found = [artefact for artefact in list_artefacts(folder) if prefix and artefact.artefact_id.startswith(prefix)]
    if len(found) != 1:
        problem = "There is no finished report" if not found else "There is more than one finished report"
        raise ArtefactNotFound(f"{problem} whose id starts with {prefix!r}. `k9ops report artefacts` lists them.")
    return found[0]


@contextmanager
def open_artefact(folder: Path, artefact: Artefact) -> Iterator[BinaryIO]:
    """Open a report's file, its digest checked.

    Raises:
        ArtefactDamaged: It is not what was written.
    """
    try:
        file = (folder / artefact.file_name).open("rb")
    except FileNotFoundError:
        raise ArtefactDamaged(f"The file of report {artefact.artefact_id} is gone.") from None
    with file:
        if hashlib.file_digest(file, "sha256").hexdigest() != artefact.sha256:
            raise ArtefactDamaged(f"The file of report {artefact.artefact_id} is not what was written.")
        file.seek(0)
        yield file


def is_whole(folder: Path, artefact: Artefact) -> bool:
    """Tell whether a report's file is what was written."""
    try:
        with open_artefact(folder, artefact):
            return True
    except ArtefactDamaged:
        return False


def delete_expired(folder: Path, *, now: datetime) -> tuple[list[Artefact], int]:
    """Delete the reports that have expired, and files that nobody will finish.

    Returns:
        The reports, and how many unfinished files went.
    """
    if not folder.is_dir():
        return [], 0
    expired = [artefact for artefact in list_artefacts(folder) if artefact.expires_at <= now]
    for artefact in expired:
        (folder / f"{artefact.artefact_id}.json").unlink(missing_ok=True)
        (folder / artefact.file_name).unlink(missing_ok=True)
    abandoned = sum(remove_abandoned(path) for path in folder.glob(".*.partial"))
    for path, age in [
        *((path, _UNFINISHED_AFTER) for path in _find_unfinished(folder)),
        *((path, _MARKS_KEPT) for path in folder.glob(f"{SENDING_PREFIX}*")),
    ]:
        if path.stat().st_mtime < (now - age).timestamp():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            abandoned += 1
    if expired or abandoned:
        fsync_folder(folder)
    return expired, abandoned


@contextmanager
def work_folder(folder: Path) -> Iterator[Path]:
    """Make a private folder for a report's rows, and remove it with all that is in it.

    Raises:
        DiskFull: From the block, whatever it writes there.
    """
    with disk_errors(), TemporaryDirectory(prefix=_WORK_PREFIX, dir=open_folder(folder)) as path:
        yield Path(path)


def _find_unfinished(folder: Path) -> list[Path]:
    """Return what runs that were killed have left: rows, and files that never got their description."""
    files = [path for path in folder.iterdir() if _ID.fullmatch(path.stem) and path.suffix[1:] in FORMATS]
    alone = [path for path in files if not path.with_suffix(".json").exists()]
    return [*alone, *folder.glob(f"{_WORK_PREFIX}*")]
