"""Database and uploads as one set: made, verified, said, deleted and restored together."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.backups.conftest import Source
from tests.integration.backups.test_encrypted import make_pair

from k9ops.backups import jobs
from k9ops.backups.catalogue import delete_backup, files_of, list_backups, load_backup
from k9ops.backups.create import create_backup
from k9ops.backups.manifest import Verification
from k9ops.backups.retention import RetentionPolicy, apply_retention
from k9ops.backups.uploads_restore import restore_uploads
from k9ops.backups.verify import verify_backup
from k9ops.outcome import Execution

SECRET_NAME = "صورة سرية"


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    folder = tmp_path / "uploads"
    (folder / "dogs").mkdir(parents=True)
    (folder / "dogs" / f"{SECRET_NAME}.jpg").write_bytes(os.urandom(50_000))
    (folder / "note.txt").write_text("ملاحظة")
    return folder


@contextlib.contextmanager
def closing_engine(source: Source) -> Iterator[None]:
    """The jobs use the engine itself, which keeps connections."""
    try:
        yield
    finally:
        source.engine.dispose()


def verify(source: Source, backup_id: str, **options: object) -> Verification:
    backup = load_backup(source.settings.backup_dir, backup_id)
    return verify_backup(source.settings, backup, execution=Execution(), **options)  # type: ignore[arg-type]


def test_a_set_is_made_verified_and_restored_with_its_uploads(
    each_source: Source, uploads: Path, tmp_path: Path
) -> None:
    source = each_source.with_settings(uploads_dir=uploads)
    backup = source.back_up()
    assert backup.manifest.manifest_version == 2
    verification = verify(source, backup.backup_id)
    assert verification.state == "verified"
    assert verification.uploads is not None
    assert (verification.uploads.files, verification.uploads.contents_read) == (2, 2)
    report = restore_uploads(source.settings, backup, into=tmp_path / "again", execution=Execution())
    assert report.files == 2
    assert (tmp_path / "again" / "note.txt").read_text() == "ملاحظة"


def test_an_encrypted_set_shows_no_name_and_no_content(source: Source, uploads: Path, tmp_path: Path) -> None:
    pair = make_pair()
    source = source.with_settings(uploads_dir=uploads, backup_recipients=pair.public)
    (uploads / f"{SECRET_NAME} link").symlink_to("/etc/hostname")
    lacking = source.back_up()
    (uploads / f"{SECRET_NAME} link").unlink()
    backup = source.back_up()
    for path in (*files_of(lacking), *files_of(backup)):
        content = path.read_bytes()
        assert SECRET_NAME.encode() not in content
        assert b"note.txt" not in content
        assert "ملاحظة".encode() not in content
    verification = verify(source, backup.backup_id, keys=pair.keys)
    assert (verification.state, verification.opened_with) == ("verified", "private_key")
    report = restore_uploads(source.settings, backup, into=tmp_path / "a", execution=Execution(), keys=pair.keys)
    assert report.files == 2


def test_verification_fails_when_a_pack_is_damaged(source: Source, uploads: Path) -> None:
    source = source.with_settings(uploads_dir=uploads)
    backup = source.back_up()
    pack = files_of(backup)[2]
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.write_bytes(content)
    verification = verify(source, backup.backup_id)
    assert verification.state == "failed"
    assert pack.name in str(verification.reason)


def test_a_set_that_lacks_files_is_unverified_and_does_not_let_a_whole_one_go(source: Source, uploads: Path) -> None:
    source = source.with_settings(uploads_dir=uploads)
    whole = source.back_up()
    assert verify(source, whole.backup_id).state == "verified"
    (uploads / "link").symlink_to("/etc/hostname")
    lacking = source.back_up()
    verification = verify(source, lacking.backup_id)
    assert verification.state == "unverified"
    assert "1 names of the uploads folder could not be stored: (1) It is a link to a" in str(verification.reason)
    policy = RetentionPolicy(0, daily=1, weekly=0, monthly=0)
    apply_retention(source.settings, policy, now=lacking.created_at, dry_run=False)
    assert {item.backup_id for item in list_backups(lacking.folder).backups} == {whole.backup_id, lacking.backup_id}


def test_a_backup_of_the_database_is_made_when_the_uploads_cannot_be_read(source: Source, tmp_path: Path) -> None:
    source = source.with_settings(uploads_dir=tmp_path / "nowhere")
    backup = source.back_up()
    assert verify(source, backup.backup_id).state == "unverified"
    assert load_backup(backup.folder, backup.backup_id).archive_path.exists()


def test_retention_deletes_a_set_and_leaves_its_pack_to_the_others(
    source: Source, uploads: Path, tmp_path: Path
) -> None:
    source = source.with_settings(uploads_dir=uploads)
    first, second = source.back_up(), source.back_up()
    for backup in (first, second):
        assert verify(source, backup.backup_id).state == "verified"
    policy = RetentionPolicy(0, daily=1, weekly=0, monthly=0)
    report = apply_retention(source.settings, policy, now=second.created_at, dry_run=False)
    assert [item.backup.backup_id for item in report.deleted] == [first.backup_id]
    assert verify(source, second.backup_id).state == "verified"
    restore_uploads(source.settings, second, into=tmp_path / "again", execution=Execution())
    delete_backup(second, "by hand")
    apply_retention(source.settings, policy, now=second.created_at, dry_run=False)
    assert [path.name for path in first.folder.iterdir()] == [".uploads.lock"]


def test_another_attempt_makes_a_set_again_whose_pack_is_gone(source: Source, uploads: Path) -> None:
    source = source.with_settings(uploads_dir=uploads)
    backup = source.back_up()
    assert source.back_up(backup_id=backup.backup_id) == backup
    files_of(backup)[2].unlink()
    again = source.back_up(backup_id=backup.backup_id)
    assert verify(source, again.backup_id).state == "verified"


def test_the_jobs_say_what_became_of_the_uploads(source: Source, uploads: Path) -> None:
    with closing_engine(source):
        settings = source.settings.model_copy(update={"uploads_dir": uploads})
        wanted = {"slot": None, "only_if_enabled": False}
        made = jobs.create(settings, source.engine, execution=Execution(uuid.uuid4()), **wanted)  # type: ignore[arg-type]
        assert made.state == "succeeded"
        assert "2 files of 50.0 kB (50.0 kB new)" in made.message
        assert made.evidence["uploads"]["packs"] == 1
        outcome = jobs.verify(settings, source.engine, execution=Execution(), backup_id=str(made.evidence["backup_id"]))
        assert outcome.state == "succeeded"
        assert "All 2 files of the uploads folder are in it." in outcome.message
        (uploads / "link").symlink_to("/etc/hostname")
        made = jobs.create(settings, source.engine, execution=Execution(uuid.uuid4()), **wanted)  # type: ignore[arg-type]
        assert made.state == "partial"
        assert "(1) It is a link to a place outside of the folder" in made.message
        assert [item.job for item in made.follow_ups] == ["verify_backup"]
        outcome = jobs.verify(settings, source.engine, execution=Execution(), backup_id=str(made.evidence["backup_id"]))
        assert outcome.state == "partial"


def test_create_backup_takes_the_database_first(source: Source, uploads: Path) -> None:
    """A row that names a file must not be in the backup without it."""
    source = source.with_settings(uploads_dir=uploads)

    def upload(_done: int, _total: int, unit: str) -> None:
        if unit == "bytes":
            (uploads / "late").write_bytes(b"late")

    backup = create_backup(
        source.settings,
        source.engine,
        backup_id="20260301T020000Z-0000002a",
        execution=Execution(report_progress=upload),
    )
    assert backup.manifest.uploads is not None
    assert backup.manifest.uploads.files == 3


_VICTIM = """
import sys, pathlib
from sqlalchemy import create_engine
from k9ops.backups.create import create_backup
from k9ops.config.settings import Settings
from k9ops.outcome import Execution
url, folder, uploads, recipients, backup_id, point = sys.argv[1:]
settings = Settings(database_url=sys.stdin.readline().strip(), backup_dir=pathlib.Path(folder), backup_min_free_bytes=0,
                    uploads_dir=pathlib.Path(uploads), backup_recipients=recipients)
def wait(done, total, unit):
    if unit == point or (point == "index" and done == 2 and unit == "files"):
        print("there", flush=True)
        sys.stdin.read()
create_backup(settings, create_engine(settings.sqlalchemy_url), backup_id=backup_id,
              execution=Execution(report_progress=wait))
"""


@pytest.mark.parametrize("point", ["bytes", "files", "index"])
def test_a_killed_process_leaves_nothing_with_a_final_name(source: Source, uploads: Path, point: str) -> None:
    pair = make_pair()
    source = source.with_settings(uploads_dir=uploads, backup_recipients=pair.public)
    folder, backup_id = source.settings.backup_dir, "20260301T020000Z-0000002a"
    with subprocess.Popen(
        [sys.executable, "-c", _VICTIM, "-", str(folder), str(uploads), pair.public, backup_id, point],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as victim:
        assert victim.stdin is not None
        assert victim.stdout is not None
        victim.stdin.write(source.url + "\n")
        victim.stdin.flush()
        assert victim.stdout.readline() == "there\n"
        victim.kill()
    assert list_backups(folder).backups == ()
    assert all(path.name.startswith(".") for path in folder.iterdir())
    assert b"PGDMP" not in b"".join(path.read_bytes() for path in folder.iterdir())
    backup = source.back_up(backup_id=backup_id)
    assert verify(source, backup_id, keys=pair.keys).state == "verified"
    expected = {path.name for path in files_of(backup)} | {f"{backup_id}.state.json", ".uploads.lock", "drills.json"}
    assert {path.name for path in folder.iterdir()} == expected
