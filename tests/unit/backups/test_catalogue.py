"""The backup folder as a catalogue: listing, pins, deletion and what dead processes leave."""

from __future__ import annotations

import stat
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.unit.backups.making import MOMENT, make_backup

from k9ops.backups import catalogue
from k9ops.backups.catalogue import (
    Backup,
    archive_path,
    delete_backup,
    files_of,
    list_backups,
    load_backup,
    make_backup_id,
    manifest_path,
    partial_path,
    pin,
    state_path,
    sweep,
    unpin,
    update_state,
    upload_path,
)
from k9ops.backups.manifest import encode
from k9ops.backups.retention import RetentionPolicy, apply_retention
from k9ops.backups.upload_marks import FileMemory
from k9ops.config.settings import Settings
from k9ops.drive.upload import UploadMark
from k9ops.durable import is_being_written, open_folder, open_partial, write_durably
from k9ops.errors import BackupDamaged, BackupNotFound, TransientError


def store(folder: Path, *, days: int = 0, number: int = 42, state: str = "verified") -> Backup:
    backup = make_backup(MOMENT + timedelta(days=days), number=number, state=state, folder=folder)  # type: ignore[arg-type]
    backup.archive_path.write_bytes(b"dump")
    manifest_path(folder, backup.backup_id).write_bytes(encode(backup.manifest))
    state_path(folder, backup.backup_id).write_bytes(encode(backup.state))
    return backup


def test_make_backup_id_is_the_same_for_each_attempt_of_a_run() -> None:
    moment, run_id = datetime(2026, 3, 1, 5, tzinfo=UTC), uuid.uuid4()
    assert make_backup_id(moment, run_id) == make_backup_id(moment.astimezone(), run_id)
    assert make_backup_id(moment, run_id) != make_backup_id(moment, uuid.uuid4())


def test_list_backups_is_empty_without_a_folder(tmp_path: Path) -> None:
    listing = list_backups(tmp_path / "nowhere")
    assert (listing.backups, listing.problems) == ((), ())


def test_list_backups_is_newest_first_and_ignores_other_files(tmp_path: Path) -> None:
    stored = [store(tmp_path, days=day, number=day + 1) for day in (1, 3, 2)]
    (tmp_path / "README.dump").write_bytes(b"")
    (tmp_path / ".20260301T020000Z-0000002a.dump.partial").write_bytes(b"half")
    listing = list_backups(tmp_path)
    assert listing.backups == (stored[1], stored[2], stored[0])
    assert listing.problems == ()


def test_list_backups_flags_damage_and_hides_nothing_else(tmp_path: Path) -> None:
    good = store(tmp_path, days=0, number=1)
    no_archive, no_manifest, bad_manifest, renamed, bad_state = (store(tmp_path, days=d, number=d) for d in range(2, 7))
    no_archive.archive_path.unlink()
    manifest_path(tmp_path, no_manifest.backup_id).unlink()
    manifest_path(tmp_path, bad_manifest.backup_id).write_bytes(b"{")
    manifest_path(tmp_path, renamed.backup_id).write_bytes(encode(good.manifest))
    state_path(tmp_path, bad_state.backup_id).write_bytes(b"\0")
    listing = list_backups(tmp_path)
    assert [backup.backup_id for backup in listing.backups] == [bad_state.backup_id, good.backup_id]
    assert listing.backups[0].is_pinned, "a backup whose pin cannot be read must stay"
    reasons = {problem.name.split(".")[0]: problem.reason for problem in listing.problems}
    assert reasons == {
        no_archive.backup_id: "The archive is missing.",
        no_manifest.backup_id: "The manifest is missing.",
        bad_manifest.backup_id: "The manifest is not JSON.",
        renamed.backup_id: f"It is the manifest of {good.backup_id}.",
        bad_state.backup_id: "The state file is not JSON.",
    }
    with pytest.raises(BackupDamaged, match="The archive is missing"):
        load_backup(tmp_path, no_archive.backup_id)


def test_list_backups_flags_an_archive_of_the_wrong_size(tmp_path: Path) -> None:
    backup = store(tmp_path)
    backup.archive_path.write_bytes(b"dum")
    listing = list_backups(tmp_path)
    assert [(item.backup_id, item.verification_state) for item in listing.backups] == [(backup.backup_id, "failed")]
    assert listing.problems[0].reason == "It has 3 bytes; the manifest says 4."


def test_list_backups_counts_a_proof_for_nothing_when_the_manifest_was_changed(tmp_path: Path) -> None:
    backup = store(tmp_path)
    assert list_backups(tmp_path).backups[0].verification_state == "verified"
    path = manifest_path(tmp_path, backup.backup_id)
    path.write_text(path.read_text().replace('"public.user": 3', '"public.user": 4'))
    listing = list_backups(tmp_path)
    assert listing.backups[0].verification_state == "unverified"
    assert listing.problems[0].reason == "Its manifest is not the one that was verified."


def test_load_backup_takes_a_beginning_that_only_one_backup_has(tmp_path: Path) -> None:
    first, second = store(tmp_path, days=0), store(tmp_path, days=1)
    assert load_backup(tmp_path, first.backup_id) == first
    assert load_backup(tmp_path, "20260302") == second
    with pytest.raises(BackupNotFound, match="2 backups begin with 2026"):
        load_backup(tmp_path, "2026")
    for name in ("2027", "", "../etc"):
        with pytest.raises(BackupNotFound):
            load_backup(tmp_path, name)


def test_pin_holds_until_unpin(tmp_path: Path) -> None:
    backup = store(tmp_path)
    assert pin(backup, "before the move").is_pinned
    assert load_backup(tmp_path, backup.backup_id).state.pinned_reason == "before the move"
    assert not unpin(backup).is_pinned
    assert load_backup(tmp_path, backup.backup_id) == backup


def test_update_state_changes_what_is_on_disk_and_not_what_was_read_before(tmp_path: Path) -> None:
    backup = store(tmp_path)
    pin(backup, "keep")
    changed = update_state(backup, lambda state: state.model_copy(update={"verification": state.verification}))
    assert changed.is_pinned


def test_update_state_refuses_a_backup_that_has_gone(tmp_path: Path) -> None:
    backup = store(tmp_path)
    delete_backup(backup, "old")
    with pytest.raises(BackupNotFound):
        pin(backup, "too late")
    assert list(tmp_path.iterdir()) == []


def test_delete_backup_leaves_one_that_was_pinned_meanwhile(tmp_path: Path) -> None:
    backup = store(tmp_path)
    pin(backup, "wait")
    assert not delete_backup(backup, "old")
    assert list_backups(tmp_path).backups[0].is_pinned


def test_files_of_are_the_archive_first_and_the_manifest_last(tmp_path: Path) -> None:
    backup = store(tmp_path)
    assert [path.name for path in files_of(backup)] == [f"{backup.backup_id}.dump", f"{backup.backup_id}.json"]
    assert all(path.exists() for path in files_of(backup))


def test_delete_backup_takes_the_marks_of_its_upload_with_it(tmp_path: Path) -> None:
    backup = store(tmp_path)
    memory = FileMemory(upload_path(tmp_path, backup.backup_id), "a")
    mark = UploadMark("id", "folder", "0" * 64, session="https://drive/secret", confirmed_bytes=7)
    memory.save(mark)
    assert memory.load() == mark
    assert stat.S_IMODE(upload_path(tmp_path, backup.backup_id).stat().st_mode) == 0o600
    assert [item.backup_id for item in list_backups(tmp_path).backups] == [backup.backup_id]
    assert list_backups(tmp_path).problems == ()
    delete_backup(backup, "old")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": 7}', b'{"a": {"file_id": "x"}}'])
def test_marks_that_cannot_be_read_count_as_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "marks.json"
    path.write_bytes(content)
    memory = FileMemory(path, "a")
    assert memory.load() is None
    memory.save(UploadMark("id", "folder", "0" * 64))
    assert memory.load() == UploadMark("id", "folder", "0" * 64)


@pytest.mark.parametrize("removed", [0, 1, 2])
def test_sweep_finishes_a_deletion_when_it_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: int
) -> None:
    backup = store(tmp_path)

    class Killed(BaseException):
        pass

    def remove_some(folder: Path, backup_id: str) -> None:
        for path in (archive_path(folder, backup_id), manifest_path(folder, backup_id))[:removed]:
            path.unlink()
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(catalogue, "_remove_files", remove_some)
        with pytest.raises(Killed):
            delete_backup(backup, "old")
    assert list_backups(tmp_path) == catalogue.BackupListing((), ()), "half deleted is neither a backup nor a loss"
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_sweep_leaves_whole_backups_and_archives_without_a_manifest(tmp_path: Path) -> None:
    backup, lone = store(tmp_path, number=1), store(tmp_path, number=2)
    manifest_path(tmp_path, lone.backup_id).unlink()
    sweep(tmp_path)
    assert load_backup(tmp_path, backup.backup_id) == backup
    assert lone.archive_path.exists()


def test_sweep_removes_a_partial_file_only_when_its_writer_is_dead(tmp_path: Path) -> None:
    path = partial_path(tmp_path, make_backup_id(MOMENT, uuid.uuid4()))
    program = (
        "import sys, pathlib\n"
        "from k9ops.durable import open_partial\n"
        "with open_partial(pathlib.Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); file.flush(); print('ready', flush=True); sys.stdin.read()\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        sweep(tmp_path)
        assert path.read_bytes() == b"half"
        with pytest.raises(TransientError), open_partial(path):
            pass
        assert path.exists(), "the one that was refused must not take the writer's file away"
        writer.kill()
    sweep(tmp_path)
    assert not path.exists()


def test_open_partial_leaves_nothing_when_the_writer_fails(tmp_path: Path) -> None:
    path = tmp_path / ".x.partial"

    def fail() -> None:
        with open_partial(path) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not path.exists()


def test_is_being_written_holds_under_the_final_name_until_the_writer_is_done(tmp_path: Path) -> None:
    path, final = tmp_path / ".x.partial", tmp_path / "x"
    with open_partial(path):
        path.rename(final)
        assert is_being_written(final)
    assert final.exists()
    assert not is_being_written(final)


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "new" / "backups")
    write_durably(folder / "x.json", b"{}")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "x.json").stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == ["x.json"]


def test_apply_retention_deletes_what_the_plan_says_and_nothing_in_a_dry_run(tmp_path: Path) -> None:
    backups = [store(tmp_path, days=day, number=day + 1) for day in range(5)]
    settings, now = Settings(backup_dir=tmp_path), MOMENT + timedelta(days=5)
    policy = RetentionPolicy(0, daily=2, weekly=0, monthly=0)
    rehearsal = apply_retention(settings, policy, now=now, dry_run=True)
    assert len(list_backups(tmp_path).backups) == 5
    report = apply_retention(settings, policy, now=now, dry_run=False)
    assert (report.deleted, report.freed_bytes) == (rehearsal.deleted, 12)
    assert [decision.backup.backup_id for decision in report.deleted] == [backup.backup_id for backup in backups[:3]]
    found = [(item.backup_id, item.state.arrival) for item in list_backups(tmp_path).backups]
    assert found == [(backups[4].backup_id, 5), (backups[3].backup_id, 4)]
    assert apply_retention(settings, policy, now=now, dry_run=False).deleted == ()
