from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.fake_drive import FakeDrive
from tests.unit.backups.making import MOMENT, make_backup

from k9ops.backups.catalogue import Backup
from k9ops.backups.drive_copies import RemoteBackup, find_hold, update_notes
from k9ops.backups.manifest import CopiedFile, DriveCopy
from k9ops.backups.upload import VERIFICATION_PROPERTY, notes_of
from k9ops.drive.store import RemoteFile


def make_remote(name: str, *, sha256: str = "s", **properties: str) -> RemoteFile:
    return RemoteFile(f"id of {name}", name, MOMENT, 1, "m", sha256, properties=properties)


def copied(backup: Backup, *ends: str) -> tuple[Backup, RemoteBackup]:
    """Return a backup that knows its copy, and that copy, noted as verified."""
    notes = notes_of(backup) | {VERIFICATION_PROPERTY: "verified"}
    files = tuple(make_remote(f"{backup.backup_id}{end}", **notes) for end in ends)
    noted = tuple(CopiedFile(name=file.name, file_id=file.file_id, size_bytes=1, md5="m", sha256="s") for file in files)
    copy = DriveCopy(folder_id="f", at=MOMENT, files=noted)
    backup = replace(backup, state=backup.state.model_copy(update={"drive_copy": copy}))
    packs = tuple(file for file in files if ".files.tar" in file.name)
    own = tuple(file for file in files if file not in packs)
    return backup, RemoteBackup(backup.backup_id, backup.created_at, "verified", False, own, packs)


@pytest.mark.parametrize("state", ["failed", "unverified"])
def test_update_notes_keeps_the_proof_of_a_copy_when_the_files_here_are_damaged(state: str) -> None:
    backup, copy = copied(make_backup(MOMENT, state=state, folder=Path("/nowhere")), ".dump", ".json")  # type: ignore[arg-type]
    (updated,) = update_notes(FakeDrive(), [backup], [copy])
    assert updated.verification_state == "verified"


def test_update_notes_keeps_no_proof_of_a_copy_that_is_not_what_was_compared() -> None:
    backup, copy = copied(make_backup(MOMENT, state="failed", folder=Path("/nowhere")), ".dump", ".json")
    other = make_remote(f"{backup.backup_id}.dump", sha256="x", **notes_of(backup))
    (updated,) = update_notes(FakeDrive(), [backup], [replace(copy, files=(other,))])
    assert updated.verification_state == "failed"


@pytest.mark.parametrize(
    ("ends", "is_whole"),
    [
        ((".dump", ".json"), True),
        ((".dump.age", ".files.jsonl.zst.age", ".json"), True),
        ((".files.jsonl.zst", ".json"), False),
        ((".dump", ".files.jsonl.zst"), False),
    ],
)
def test_copy_is_whole_with_archive_and_manifest(ends: tuple[str, ...], is_whole: bool) -> None:
    _, copy = copied(make_backup(MOMENT, folder=Path("/nowhere")), *ends)
    assert copy.is_whole is is_whole


def test_copy_is_still_there_when_another_backup_sent_its_pack_again() -> None:
    backup, copy = copied(make_backup(MOMENT, folder=Path("/nowhere")), ".dump", ".files.tar.zst", ".json")
    assert find_hold(backup, [backup], [copy]) is None
    again = replace(copy, packs=(replace(copy.packs[0], file_id="another"),))
    assert find_hold(backup, [backup], [again]) is None
    other = replace(copy, packs=(replace(copy.packs[0], file_id="another", sha256="x"),))
    assert find_hold(backup, [backup], [other]) is not None
