"""The backup folder, which is the catalogue: it is complete without the database.

A backup ID is three files: `ID.dump`, the archive, or `ID.dump.age` where it is encrypted; `ID.json`, its manifest,
never changed; and `ID.state.json`, whether it is verified, pinned and on Google Drive. `ID.upload.json` is there while
it is uploaded. An archive has its final name only when it is whole, and the manifest is written after it: so both
together are a backup, and one alone is a rest. With uploads there are up to three more: `ID.files.jsonl.zst`, the
index of all files; `ID.files.tar.zst`, a pack of the contents that no earlier set had; and `ID.files.sha256`, the
digests of these contents. Later sets refer to the pack.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from k9ops.backups.manifest import (
    BackupState,
    Manifest,
    Verification,
    VerificationState,
    decode_manifest,
    decode_state,
    encode,
    fingerprint,
)
from k9ops.config.logging import get_logger
from k9ops.durable import fsync_folder, locked, remove_abandoned, write_durably
from k9ops.errors import BackupDamaged, BackupNotFound

#: Size of a digest in the list of a pack's contents.
DIGEST_BYTES = 32

_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
_OF_PACK = re.compile(r"[^.]+\.files\.(tar\.zst(\.age)?|sha256)")

log = get_logger("k9ops.backups")


@dataclass(frozen=True)
class Backup:
    """A backup in its folder, as read at one moment.

    Attributes:
        folder: Absolute.
        manifest: What it holds.
        state: Whether it is verified and pinned.
    """

    folder: Path
    manifest: Manifest
    state: BackupState

    @property
    def backup_id(self) -> str:
        """Its name."""
        return self.manifest.backup_id

    @property
    def created_at(self) -> datetime:
        """The moment whose data it holds, aware UTC."""
        return self.manifest.snapshot_at

    @property
    def size_bytes(self) -> int:
        """Size of the archive."""
        return self.manifest.size_bytes

    @property
    def verification_state(self) -> VerificationState:
        """`unverified`, `verified` or `failed`."""
        return self.state.verification.state

    @property
    def is_pinned(self) -> bool:
        """Whether retention must leave it alone."""
        return self.state.pinned_at is not None

    @property
    def arrival(self) -> int | None:
        """Its place in the order in which backups came into the folder; None when it has none yet."""
        return self.state.arrival

    @property
    def archive_path(self) -> Path:
        """The archive."""
        return archive_path(self.folder, self.backup_id, is_encrypted=self.is_encrypted)

    @property
    def is_encrypted(self) -> bool:
        """Whether only a private key opens it."""
        return self.manifest.encryption is not None


@dataclass(frozen=True)
class BackupProblem:
    """Something in the folder that is no whole backup.

    Attributes:
        name: Of the file.
        reason: For a person.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class BackupListing:
    """All of a folder.

    Attributes:
        backups: Newest first.
        problems: Rests and damaged files.
    """

    backups: tuple[Backup, ...]
    problems: tuple[BackupProblem, ...]


def make_backup_id(moment: datetime, run_id: uuid.UUID) -> str:
    """Return the id of the backup that a run makes: the same for each of its attempts.

    Args:
        moment: The slot, or when the run was created; aware.
        run_id: The run.

    Example:
        >>> make_backup_id(datetime(2026, 3, 1, 2, tzinfo=UTC), uuid.UUID(int=7))
        '20260301T020000Z-00000007'
    """
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}-{run_id.hex[-8:]}"


def digests_of(backup: Backup) -> dict[Path, str]:
    """Return the SHA-256 that each file of `files_of` must have, but for the manifest, which says so."""
    uploads = backup.manifest.uploads
    digests = [backup.manifest.sha256]
    if uploads is not None and uploads.index_sha256 is not None:
        digests.append(uploads.index_sha256)
        for pack in uploads.packs:
            digests += [pack.sha256, pack.contents_sha256]
    return dict(zip(files_of(backup), digests, strict=False))


def is_backup_id(name: str) -> bool:
    """Tell whether a name has the form of `make_backup_id`."""
    return _ID.fullmatch(name) is not None


def files_of(backup: Backup) -> tuple[Path, ...]:
    """Return every file that a copy of a backup needs: the archive first, the manifest last.

    A pack of uploads is among the files of every backup that refers to it.
    """
    return (backup.archive_path, *uploads_files_of(backup), manifest_path(backup.folder, backup.backup_id))


def uploads_files_of(backup: Backup) -> tuple[Path, ...]:
    """Return the files that hold the uploads of a backup: its index, and packs with their lists of contents."""
    uploads = backup.manifest.uploads
    if uploads is None or uploads.index_sha256 is None:
        return ()
    files = [index_path(backup.folder, backup.backup_id, is_encrypted=backup.is_encrypted)]
    for pack in uploads.packs:
        files.append(pack_path(backup.folder, pack.backup_id, is_encrypted=backup.is_encrypted))
        files.append(contents_path(backup.folder, pack.backup_id))
    return tuple(files)


def archive_path(folder: Path, backup_id: str, *, is_encrypted: bool = False) -> Path:
    """Return where the archive of a backup stands."""
    return folder / f"{backup_id}.dump{'.age' if is_encrypted else ''}"


def index_path(folder: Path, backup_id: str, *, is_encrypted: bool) -> Path:
    """Return where the index of the uploads of a backup stands."""
    return folder / f"{backup_id}.files.jsonl.zst{'.age' if is_encrypted else ''}"


def pack_path(folder: Path, backup_id: str, *, is_encrypted: bool) -> Path:
    """Return where the pack stands that was made with a backup."""
    return folder / f"{backup_id}.files.tar.zst{'.age' if is_encrypted else ''}"


def contents_path(folder: Path, backup_id: str) -> Path:
    """Return where the list of a pack's contents stands: their SHA-256 digests, 32 bytes each."""
    return folder / f"{backup_id}.files.sha256"


def is_of_pack(name: str) -> bool:
    """Tell whether a file is a pack or the list of its contents: the part of a backup that others may share."""
    return _OF_PACK.fullmatch(name) is not None


def manifest_path(folder: Path, backup_id: str) -> Path:
    """Return where the manifest of a backup stands."""
    return folder / f"{backup_id}.json"


def state_path(folder: Path, backup_id: str) -> Path:
    """Return where the state of a backup stands."""
    return folder / f"{backup_id}.state.json"


def upload_path(folder: Path, backup_id: str) -> Path:
    """Return where it stands how far the upload of a backup is."""
    return folder / f"{backup_id}.upload.json"


def partial_path(folder: Path, backup_id: str) -> Path:
    """Return where an archive stands while it is being written."""
    return folder / f".{backup_id}.dump.partial"


def list_backups(folder: Path) -> BackupListing:
    """Read the whole folder; a damaged file becomes a problem and hides nothing else."""
    folder = folder.absolute()
    backups: list[Backup] = []
    problems: list[BackupProblem] = []
    for backup_id in sorted(_ids_in(folder), reverse=True):
        backup, found = _read(folder, backup_id)
        problems += found
        if backup is not None:
            backups.append(backup)
    backups.sort(key=lambda backup: (backup.created_at, backup.backup_id), reverse=True)
    return BackupListing(tuple(backups), tuple(problems))


def load_backup(folder: Path, name: str) -> Backup:
    """Find one backup by its id, or by a beginning of it that no other backup has.

    Raises:
        BackupNotFound: None has this id, or several begin with it.
        BackupDamaged: Its manifest or archive is missing or unreadable.
    """
    folder = folder.absolute()
    fitting = sorted(backup_id for backup_id in _ids_in(folder) if name and backup_id.startswith(name))
    if not fitting:
        raise BackupNotFound(f"There is no backup {name}.")
    if len(fitting) > 1:
        raise BackupNotFound(f"{len(fitting)} backups begin with {name}: {', '.join(fitting)}.")
    backup, problems = _read(folder, fitting[0])
    if backup is None:
        if not problems:
            raise BackupNotFound(f"There is no backup {name}.")
        raise BackupDamaged(f"Backup {fitting[0]} cannot be used: {problems[0].reason}")
    return backup


def pin(backup: Backup, reason: str) -> Backup:
    """Keep a backup whatever its age, until `unpin`.

    Raises:
        BackupNotFound: It is no longer there.
    """
    pinned = {"pinned_at": datetime.now(UTC), "pinned_reason": reason}
    return update_state(backup, lambda state: state.model_copy(update=pinned))


def unpin(backup: Backup) -> Backup:
    """Let retention decide about a backup again.

    Raises:
        BackupNotFound: It is no longer there.
    """
    return update_state(backup, lambda state: state.model_copy(update={"pinned_at": None, "pinned_reason": None}))


def update_state(backup: Backup, change: Callable[[BackupState], BackupState]) -> Backup:
    """Change the state as it is on disk now, not as it was when `backup` was read; one writer at a time.

    Raises:
        BackupNotFound: It is no longer there.
    """
    path = state_path(backup.folder, backup.backup_id)
    try:
        with locked(manifest_path(backup.folder, backup.backup_id)):
            current, _ = read_state(backup.folder, backup.backup_id)
            if current.deletion_reason is not None:
                raise BackupNotFound(f"Backup {backup.backup_id} has been deleted.")
            state = change(current)
            write_durably(path, encode(state))
    except FileNotFoundError as exc:
        raise BackupNotFound(f"Backup {backup.backup_id} is no longer there.") from exc
    return Backup(backup.folder, backup.manifest, state)


def delete_backup(backup: Backup, reason: str) -> bool:
    """Remove a backup, unless somebody has pinned it meanwhile.

    The state is marked first and removed last. Whatever a crash leaves in between is marked, so it is never
    taken for a backup, nor for a loss, and `sweep` removes the rest.

    Returns:
        Whether it was removed.
    """
    current = update_state(
        backup, lambda state: state if state.pinned_at else state.model_copy(update={"deletion_reason": reason})
    )
    if current.is_pinned:
        return False
    _remove_files(backup.folder, backup.backup_id)
    log.info("backup.deleted", backup_id=backup.backup_id, reason=reason, size_bytes=backup.size_bytes)
    return True


def sweep(folder: Path) -> None:
    """Remove what dead processes left: archives half written, and backups half deleted."""
    for path in folder.glob(".*.partial"):
        if remove_abandoned(path):
            log.warning("partial_file.removed", file=path.name)
    for backup_id in _ids_in(folder):
        state, _ = read_state(folder, backup_id)
        if state.deletion_reason is not None:
            _remove_files(folder, backup_id)
            log.info("backup.deleted", backup_id=backup_id, reason=state.deletion_reason)


def _remove_files(folder: Path, backup_id: str) -> None:
    for is_encrypted in (False, True):
        archive_path(folder, backup_id, is_encrypted=is_encrypted).unlink(missing_ok=True)
        index_path(folder, backup_id, is_encrypted=is_encrypted).unlink(missing_ok=True)
    for make_path in (manifest_path, upload_path):
        make_path(folder, backup_id).unlink(missing_ok=True)
    fsync_folder(folder)
    state_path(folder, backup_id).unlink(missing_ok=True)
    fsync_folder(folder)


def _ids_in(folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        return
    found = set()
    for path in folder.iterdir():
        stem, _, suffix = path.name.partition(".")
        if suffix in ("dump", "dump.age", "json", "state.json") and is_backup_id(stem):
            found.add(stem)
    yield from found


def _read(folder: Path, backup_id: str) -> tuple[Backup | None, list[BackupProblem]]:
    archive, manifest_file = archive_path(folder, backup_id), manifest_path(folder, backup_id)
    state, problem = read_state(folder, backup_id)
    problems = [problem] if problem else []
    if state.deletion_reason is not None:
        return None, []
    try:
        manifest = decode_manifest(manifest_file.read_bytes())
        archive = archive_path(folder, backup_id, is_encrypted=manifest.encryption is not None)
        size_bytes = archive.stat().st_size
    except FileNotFoundError as exc:
        missing = "archive" if exc.filename == str(archive) else "manifest"
        return None, [*problems, BackupProblem(backup_id, f"The {missing} is missing.")]
    except BackupDamaged as exc:
        return None, [*problems, BackupProblem(manifest_file.name, exc.user_message)]
    except OSError as exc:
        return None, [*problems, BackupProblem(backup_id, f"It cannot be read: {exc.strerror}.")]
    if manifest.backup_id != backup_id:
        return None, [*problems, BackupProblem(manifest_file.name, f"It is the manifest of {manifest.backup_id}.")]
    if size_bytes != manifest.size_bytes:
        reason = f"It has {size_bytes} bytes; the manifest says {manifest.size_bytes}."
        problems.append(BackupProblem(archive.name, reason))
        state = _without_proof(state, Verification(state="failed", reason=reason))
    elif state.verification.state == "verified" and state.verification.manifest_sha256 != fingerprint(manifest):
        reason = "Its manifest is not the one that was verified."
        problems.append(BackupProblem(manifest_file.name, reason))
        state = _without_proof(state, Verification(reason=reason))
    backup = Backup(folder, manifest, state)
    lacking = _find_lacking(backup)
    if lacking is not None:
        problems.append(lacking)
        failed = Verification(state="failed", reason=f"{lacking.name}: {lacking.reason}")
        backup = Backup(folder, manifest, _without_proof(state, failed))
    return backup, problems


def _find_lacking(backup: Backup) -> BackupProblem | None:
    """Return the first file of the uploads that is not there, or not of its size."""
    uploads = backup.manifest.uploads
    if uploads is None:
        return None
    sizes = [uploads.index_size_bytes]
    for pack in uploads.packs:
        sizes += [pack.size_bytes, pack.contents * DIGEST_BYTES]
    for path, size_bytes in zip(uploads_files_of(backup), sizes, strict=False):
        try:
            found = path.stat().st_size
        except OSError as exc:
            return BackupProblem(path.name, f"It cannot be read: {exc.strerror}.")
        if found != size_bytes:
            return BackupProblem(path.name, f"It has {found} bytes; the manifest says {size_bytes}.")
    return None


def _without_proof(state: BackupState, verification: Verification) -> BackupState:
    """Count for nothing what was proven of other bytes; what is stored stays as it is."""
    return state.model_copy(update={"verification": verification})


def read_state(folder: Path, backup_id: str) -> tuple[BackupState, BackupProblem | None]:
    """Read a state; a missing one is that of a new backup, a damaged one counts as pinned, as it may have been."""
    path = state_path(folder, backup_id)
    try:
        return decode_state(path.read_bytes()), None
    except FileNotFoundError:
        return BackupState(), None
    except (BackupDamaged, OSError) as exc:
        reason = exc.user_message if isinstance(exc, BackupDamaged) else f"It cannot be read: {exc.strerror}."
        pinned = BackupState(pinned_at=datetime.now(UTC), pinned_reason="Its state file is damaged.")
        return pinned, BackupProblem(path.name, reason)
