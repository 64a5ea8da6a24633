"""The upload job and retention, from `backup_settings` to the double of Drive and back."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from tests.drive_double.connecting import make_tokens
from tests.drive_double.faults import Fault
from tests.drive_double.server import DriveDouble, folder_meta, running_double

from k9ops.backups import drive_jobs, jobs
from k9ops.backups.application import read_wishes
from k9ops.backups.catalogue import (
    Backup,
    list_backups,
    load_backup,
    manifest_path,
    pin,
    update_state,
    upload_path,
)
from k9ops.backups.drive_access import open_drive, use_folder
from k9ops.backups.drive_other import upload_beside_backups
from k9ops.backups.drive_pull import pull_copy
from k9ops.backups.manifest import encode, fingerprint
from k9ops.backups.upload_marks import uploading
from k9ops.config.settings import Settings
from k9ops.db.sample import seed
from k9ops.drive.sealing import SecretBox
from k9ops.errors import (
    BackupDamaged,
    DriveAccessRevoked,
    DriveFolderMissing,
    DriveNotConnected,
    DriveQuotaExceeded,
    DriveUnavailable,
    ParamsInvalid,
    SecretUnreadable,
    UploadBusy,
)
from k9ops.outcome import Execution, Outcome

KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def double() -> Iterator[DriveDouble]:
    with running_double() as double:
        yield double


@pytest.fixture
def settings(settings: Settings, double: DriveDouble) -> Settings:
    return changed(settings, drive_api_url=double.url, drive_chunk_bytes=262_144)


@pytest.fixture
def connected(engine: Engine, double: DriveDouble) -> Engine:
    """A database whose application has Drive switched on and connected."""
    seed(engine, "B", today=date(2026, 11, 24))
    stored = json.loads(make_tokens(double).encode()) | {"account": "", "universe_domain": "googleapis.com"}
    change(engine, google_drive_enabled=True, google_drive_folder_id=None, google_drive_credentials=json.dumps(stored))
    return engine


def changed(settings: Settings, **changes: object) -> Settings:
    return Settings.model_validate({**settings.model_dump(), **changes})


def change(engine: Engine, **values: Any) -> None:
    changes = ", ".join(f"{name} = :{name}" for name in values)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE public.backup_settings SET {changes}"), values)


def row(engine: Engine) -> Mapping[str, Any]:
    with engine.begin() as connection:
        return connection.execute(text("SELECT * FROM public.backup_settings")).mappings().one()


def own(engine: Engine, query: str) -> Any:
    with engine.begin() as connection:
        return connection.scalar(text(query))


def create(settings: Settings, engine: Engine) -> Outcome:
    return jobs.create(settings, engine, execution=Execution(), slot=None, only_if_enabled=False)


def verify(settings: Settings, engine: Engine, backup_id: str) -> Outcome:
    return jobs.verify(settings, engine, execution=Execution(), backup_id=backup_id)


def upload(settings: Settings, engine: Engine, backup_id: str, **options: Any) -> Outcome:
    wanted: dict[str, Any] = {"execution": Execution(), "only_if_enabled": True} | options
    return drive_jobs.upload(settings, engine, backup_id=backup_id, **wanted)


def make_verified(settings: Settings, engine: Engine) -> Backup:
    backup_id = create(settings, engine).evidence["backup_id"]
    verify(settings, engine, backup_id)
    return load_backup(settings.backup_dir, backup_id)


def names_on(double: DriveDouble) -> list[str]:
    return sorted(item.meta["name"] for item in double.state.contents())


def test_backup_is_partial_until_it_is_on_drive(connected: Engine, settings: Settings, double: DriveDouble) -> None:
    made = create(settings, connected)
    backup_id = made.evidence["backup_id"]
    assert made.evidence["carries_drive_tokens"] is True
    assert "readable keys to Google Drive" in made.message

    verified = verify(settings, connected, backup_id)
    assert [item.job for item in verified.follow_ups] == ["upload_backup", "apply_retention"]
    assert row(connected)["last_backup_status"] == "partial"
    assert "not on Google Drive yet" in row(connected)["last_backup_message"]

    told: list[tuple[int, int, str]] = []
    execution = Execution(report_progress=lambda *facts: told.append(facts))
    done = upload(settings, connected, backup_id, execution=execution)
    assert done.state == "succeeded"
    assert [item.job for item in done.follow_ups] == ["apply_retention"]
    assert (row(connected)["last_backup_status"], row(connected)["last_backup_message"]) == ("success", done.message)

    backup = load_backup(settings.backup_dir, backup_id)
    stored = {item.meta["name"]: item for item in double.state.contents()}
    assert sorted(stored) == [f"{backup_id}.dump", f"{backup_id}.json"]
    assert bytes(stored[f"{backup_id}.dump"].content) == backup.archive_path.read_bytes()
    assert backup.state.drive_copy is not None
    assert [file["file_id"] for file in done.evidence["files"]] == [
        file.file_id for file in backup.state.drive_copy.files
    ]
    assert done.evidence["files"][0]["sha256"] == backup.manifest.sha256
    total = sum(file["size_bytes"] for file in done.evidence["files"])
    assert told[-1] == (total, total, "bytes")
    assert [facts[0] for facts in told] == sorted(facts[0] for facts in told)
    assert not upload_path(settings.backup_dir, backup_id).exists()
    assert not list(settings.backup_dir.glob(".*"))

    (folder,) = double.state.folders()
    assert (folder.meta["name"], own(connected, "SELECT folder_id FROM k9ops.drive_folder")) == (
        "K9 Database Backups", folder.meta["id"],
    )  # fmt: skip
    again = upload(settings, connected, backup_id)
    assert (again.evidence["sent_bytes"], again.evidence["found_on_drive"]) == (0, 2)
    assert len(double.state.contents()) == 2


def test_drive_that_is_switched_off_is_skipped_and_changes_nothing(connected: Engine, settings: Settings) -> None:
    change(connected, google_drive_enabled=False)
    backup = make_verified(settings, connected)
    assert row(connected)["last_backup_status"] == "success"
    outcome = upload(settings, connected, backup.backup_id)
    assert (outcome.state, "switched off" in outcome.message) == ("skipped", True)
    assert upload(settings, connected, backup.backup_id, only_if_enabled=False).state == "succeeded"


def test_unverified_backup_is_uploaded_and_stays_partial(
    connected: Engine, settings: Settings, double: DriveDouble
) -> None:
    backup_id = create(settings, connected).evidence["backup_id"]
    done = upload(settings, connected, backup_id)
    assert (done.evidence["verification"], row(connected)["last_backup_status"]) == ("unverified", "partial")
    assert {item.meta["appProperties"]["k9ops_verification"] for item in double.state.contents()} == {"unverified"}
    verify(settings, connected, backup_id)
    jobs.retain(settings, connected)
    assert {item.meta["appProperties"]["k9ops_verification"] for item in double.state.contents()} == {"verified"}


def test_damaged_or_failed_backup_is_not_uploaded(connected: Engine, settings: Settings, double: DriveDouble) -> None:
    backup = make_verified(settings, connected)
    content = bytearray(backup.archive_path.read_bytes())
    content[100] ^= 1
    backup.archive_path.write_bytes(content)
    with pytest.raises(BackupDamaged, match="not what its manifest says"):
        upload(settings, connected, backup.backup_id)
    verify(settings, connected, backup.backup_id)
    with pytest.raises(BackupDamaged, match="did not pass its verification"):
        upload(settings, connected, backup.backup_id)
    assert double.state.contents() == []
    assert row(connected)["last_backup_status"] == "partial"


def test_drive_failure_leaves_the_backup_and_says_so(
    connected: Engine, settings: Settings, double: DriveDouble
) -> None:
    backup = make_verified(settings, connected)
    double.state.refresh_tokens.clear()
    with pytest.raises(DriveAccessRevoked):
        upload(settings, connected, backup.backup_id)
    assert row(connected)["last_backup_status"] == "partial"
    assert "access was revoked" in row(connected)["last_backup_message"]
    assert load_backup(settings.backup_dir, backup.backup_id).verification_state == "verified"


def test_missing_room_is_said_before_anything_is_sent(
    connected: Engine, settings: Settings, double: DriveDouble
) -> None:
    backup = make_verified(settings, connected)
    double.state.limit_bytes = 1_000_000_000
    double.state.used_elsewhere_bytes = 999_999_000
    with pytest.raises(DriveQuotaExceeded, match=r"1\.0 kB free of 1\.0 GB; backup .* needs .* are missing"):
        upload(settings, connected, backup.backup_id)
    assert double.count("open") == 0


def test_chosen_folder_is_used_and_its_loss_is_clear(
    connected: Engine, settings: Settings, double: DriveDouble
) -> None:
    backup = make_verified(settings, connected)
    double.state.limit_bytes = 0
    chosen = double.state.add_file(folder_meta("Unit", driveId="shared-1", parents=["shared-1"])).meta["id"]
    change(connected, google_drive_folder_id=chosen)
    done = upload(settings, connected, backup.backup_id)
    assert done.evidence["folder_id"] == chosen
    double.state.files[chosen].meta["trashed"] = True
    with pytest.raises(DriveFolderMissing, match="in the trash"):
        upload(settings, connected, backup.backup_id)


def test_second_upload_of_a_backup_waits_for_the_first(connected: Engine, settings: Settings) -> None:
    backup = make_verified(settings, connected)
    with uploading(backup), pytest.raises(UploadBusy):
        upload(settings, connected, backup.backup_id)
    assert upload(settings, connected, backup.backup_id).state == "succeeded"


def test_upload_goes_on_in_another_attempt_where_it_stopped(
    connected: Engine, settings: Settings, double: DriveDouble
) -> None:
    backup = make_verified(settings, connected)

    def stop(done: int, total: int, unit: str) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upload(settings, connected, backup.backup_id, execution=Execution(report_progress=stop))
    marks = upload_path(settings.backup_dir, backup.backup_id)
    assert marks.stat().st_mode & 0o777 == 0o600
    chunks = -(-backup.size_bytes // 262_144)
    assert len(double.state.chunks) == 1
    upload(settings, connected, backup.backup_id)
    assert len(double.state.chunks) == chunks + 1  # and the manifest
    assert not marks.exists()


def test_refreshed_token_is_written_back_in_the_applications_form(
    connected: Engine, settings: Settings, double: DriveDouble
) -> None:
    before = datetime.now(UTC).replace(tzinfo=None)
    upload(settings, connected, make_verified(settings, connected).backup_id)
    stored = json.loads(row(connected)["google_drive_credentials"])
    assert stored["token"] in double.state.access_tokens
    assert stored["refresh_token"] == "refresh-1"
    assert stored["universe_domain"] == "googleapis.com"
    expiry = datetime.fromisoformat(stored["expiry"])
    assert expiry.tzinfo is None
    assert timedelta(minutes=50) < expiry - before < timedelta(minutes=70)
    assert double.count("token") == 1
    jobs.retain(settings, connected)
    assert double.count("token") == 1, "the token that was written back is used"


def test_rotated_refresh_token_is_never_lost(connected: Engine, settings: Settings, double: DriveDouble) -> None:
    double.state.rotates_refresh_tokens = True
    backup_id = make_verified(settings, connected).backup_id
    for position in range(3):
        double.state.expire_access_tokens()
        upload(settings, connected, backup_id)
        stored = json.loads(row(connected)["google_drive_credentials"])
        assert stored["refresh_token"] in double.state.refresh_tokens, position


def test_newer_consent_of_the_application_is_not_overwritten(
    connected: Engine, settings: Settings, double: DriveDouble
) -> None:
    backup_id = make_verified(settings, connected).backup_id
    newer = make_tokens(double).encode().replace("refresh-1", "refresh-of-another-consent")

    def reconnect(done: int, total: int, unit: str) -> None:
        change(connected, google_drive_credentials=newer)
        double.state.expire_access_tokens()

    upload(settings, connected, backup_id, execution=Execution(report_progress=reconnect))
    assert row(connected)["google_drive_credentials"] == newer


def test_nothing_readable_is_written_where_a_key_is_set(
    connected: Engine, settings: Settings, double: DriveDouble
) -> None:
    keyed = changed(settings, secret_key=KEY)
    before = row(connected)["google_drive_credentials"]
    backup_id = make_verified(keyed, connected).backup_id
    upload(keyed, connected, backup_id)
    assert row(connected)["google_drive_credentials"] == before
    double.state.rotates_refresh_tokens = True
    double.state.expire_access_tokens()
    upload(keyed, connected, backup_id)
    sealed = own(connected, "SELECT sealed FROM k9ops.drive_credential")
    opened = json.loads(SecretBox(keyed.secret_keys).open(sealed, purpose="drive credentials"))
    assert opened["refresh_token"] in double.state.refresh_tokens
    assert upload(keyed, connected, backup_id).state == "succeeded"
    with pytest.raises(SecretUnreadable, match="K9OPS_SECRET_KEY is not set"):
        upload(settings, connected, backup_id)
    other = changed(settings, secret_key=base64.b64encode(os.urandom(32)).decode())
    with pytest.raises(SecretUnreadable, match="does not have"):
        upload(other, connected, backup_id)


def test_credentials_that_are_missing_or_unreadable_are_told_without_their_content(
    connected: Engine, settings: Settings
) -> None:
    backup_id = make_verified(settings, connected).backup_id
    change(connected, google_drive_credentials=None)
    with pytest.raises(DriveNotConnected, match="k9ops drive connect"):
        upload(settings, connected, backup_id)
    change(connected, google_drive_credentials='{"token": "very-secret"}')
    with pytest.raises(DriveNotConnected) as caught:
        upload(settings, connected, backup_id)
    assert "very-secret" not in str(caught.value)
    plain = json.dumps(
        {"refresh_token": "r", "client_id": "c", "client_secret": "s", "token_uri": "http://example.org/"}
    )
    change(connected, google_drive_credentials=plain)
    with pytest.raises(DriveNotConnected, match="not https"):
        upload(settings, connected, backup_id)


def age(settings: Settings, backup: Backup, days: int) -> None:
    """Let a backup be older than it is, manifest and verification alike."""
    manifest = backup.manifest.model_copy(update={"snapshot_at": backup.created_at - timedelta(days=days)})
    manifest_path(settings.backup_dir, backup.backup_id).write_bytes(encode(manifest))
    proof = backup.state.verification.model_copy(update={"manifest_sha256": fingerprint(manifest)})
    update_state(backup, lambda state: state.model_copy(update={"verification": proof}))


@pytest.fixture
def strict(connected: Engine, settings: Settings) -> Settings:
    """A policy that keeps the newest verified backup only."""
    change(connected, retention_days=0)
    return changed(settings, backup_keep_daily=1, backup_keep_weekly=0, backup_keep_monthly=0)


def test_backup_stays_in_the_folder_until_a_copy_of_it_or_a_newer_one_is_on_drive(
    connected: Engine, strict: Settings, double: DriveDouble
) -> None:
    old = make_verified(strict, connected)
    age(strict, old, 40)
    new = make_verified(strict, connected)
    held = jobs.retain(strict, connected)
    assert held.state == "skipped"
    reasons = {item["backup_id"]: item["reason"] for item in held.evidence["kept"]}
    assert reasons[old.backup_id] == "neither it nor a newer verified one is on Google Drive yet"

    double.faults.add(Fault("list", 503), times=9)
    away = jobs.retain(strict, connected)
    assert (away.state, "fault of its own" in away.message) == ("partial", True)
    double.faults.waiting.clear()
    assert len(list_backups(strict.backup_dir).backups) == 2

    dry = jobs.retain(changed(strict, drive_required=False), connected, dry_run=True)
    assert [item["backup_id"] for item in dry.evidence["deleted"]] == [old.backup_id]

    upload(strict, connected, new.backup_id)
    copy = next(item for item in double.state.contents() if item.meta["name"].endswith(".dump"))
    digest = copy.meta["sha256Checksum"]
    copy.meta["sha256Checksum"] = "0" * 64
    assert jobs.retain(strict, connected).state == "skipped", "a copy with another digest proves nothing"
    copy.meta["sha256Checksum"] = digest
    done = jobs.retain(strict, connected)
    assert [item["backup_id"] for item in done.evidence["deleted"]] == [old.backup_id]
    assert [backup.backup_id for backup in list_backups(strict.backup_dir).backups] == [new.backup_id]


def test_copies_expire_by_the_same_plan_and_pins_hold_on_drive_too(
    connected: Engine, strict: Settings, double: DriveDouble
) -> None:
    backups = []
    for days in (60, 50, 40, 0):
        backup = make_verified(strict, connected)
        if days:
            age(strict, backup, days)
        upload(strict, connected, backup.backup_id)
        backups.append(load_backup(strict.backup_dir, backup.backup_id))
    pin(backups[0], "case 17")
    double.state.add_file({"name": "holiday.jpg", "parents": [double.state.folders()[0].meta["id"]]}, b"x")
    dry = jobs.retain(strict, connected, dry_run=True)
    assert len(names_on(double)) == 9
    done = jobs.retain(strict, connected)
    assert dry.evidence["drive"]["deleted"] == done.evidence["drive"]["deleted"]
    assert [item["backup_id"] for item in done.evidence["drive"]["deleted"]] == [
        backups[1].backup_id, backups[2].backup_id,
    ]  # fmt: skip
    kept = [backups[0].backup_id, backups[3].backup_id]
    assert names_on(double) == sorted([*(f"{i}.{end}" for i in kept for end in ("dump", "json")), "holiday.jpg"])

    # The folder is lost: what is on Drive stays by the same rules, the pin included.
    for path in strict.backup_dir.iterdir():
        path.unlink()
    assert jobs.retain(strict, connected).state == "skipped"
    assert len(names_on(double)) == 5


def test_copies_share_packs_of_uploads_and_a_pack_goes_with_the_last_of_them(
    connected: Engine, strict: Settings, double: DriveDouble, tmp_path: Path
) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    (folder / "كلب.txt").write_text("first")
    settings = changed(strict, uploads_dir=folder)

    def make(days: int) -> Backup:
        backup = make_verified(settings, connected)
        if days:
            age(settings, backup, days)
        return load_backup(settings.backup_dir, backup.backup_id)

    def packs() -> set[str]:
        return {name.partition(".")[0] for name in names_on(double) if name.endswith(".files.tar.zst")}

    old = make(40)
    upload(settings, connected, old.backup_id)
    (folder / "new.txt").write_text("second")
    new = make(20)
    shared = f"{old.backup_id}.files.tar.zst"
    evidence = upload(settings, connected, new.backup_id).evidence
    assert shared in [item["name"] for item in evidence["files"]]
    assert names_on(double).count(shared) == 1, "what is there is not sent again"
    (folder / "كلب.txt").unlink()
    last = make(0)
    upload(settings, connected, last.backup_id)

    # The newest needs the second pack only; the others' copies go, and the first pack with them, once it is old.
    assert packs() == {old.backup_id, new.backup_id}
    assert jobs.retain(settings, connected).evidence["drive"]["packs"] == []
    assert packs() == {old.backup_id, new.backup_id}
    for item in double.state.contents():
        item.meta["createdTime"] = (datetime.now(UTC) - timedelta(days=30)).isoformat()
    dry = jobs.retain(settings, connected, dry_run=True).evidence["drive"]["packs"]
    assert packs() == {old.backup_id, new.backup_id}
    assert jobs.retain(settings, connected).evidence["drive"]["packs"] == dry != []
    assert packs() == {new.backup_id}
    assert f"{new.backup_id}.json" not in names_on(double)

    # The folder is lost: the copy brings the pack that it shares, and retention still knows who needs it.
    for path in settings.backup_dir.iterdir():
        path.unlink()
    jobs.retain(settings, connected)
    assert packs() == {new.backup_id}
    with open_drive(settings, connected, execution=Execution()) as store:
        drive_folder = use_folder(settings, connected, read_wishes(connected), store)
        pulled = pull_copy(settings, store, drive_folder, last.backup_id, execution=Execution())
    assert verify(settings, connected, pulled.backup_id).state == "succeeded"


def test_pull_mends_a_damaged_backup_and_keeps_a_pin(connected: Engine, settings: Settings) -> None:
    backup = make_verified(settings, connected)
    upload(settings, connected, backup.backup_id)
    pin(backup, "case 17")
    jobs.retain(settings, connected)  # notes the pin on Drive

    def pull() -> Backup:
        with open_drive(settings, connected, execution=Execution()) as store:
            folder = use_folder(settings, connected, read_wishes(connected), store)
            return pull_copy(settings, store, folder, backup.backup_id, execution=Execution())

    with pytest.raises(ParamsInvalid, match="in the folder already"):
        pull()
    content = backup.archive_path.read_bytes()
    backup.archive_path.write_bytes(content[:-1])
    assert load_backup(settings.backup_dir, backup.backup_id).verification_state == "failed"
    assert pull().verification_state == "verified"
    assert backup.archive_path.read_bytes() == content
    for path in settings.backup_dir.iterdir():
        path.unlink()
    assert pull().is_pinned


def test_pack_that_is_not_what_the_manifest_says_is_not_uploaded(
    connected: Engine, settings: Settings, double: DriveDouble, tmp_path: Path
) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    (folder / "a.txt").write_text("first")
    backup = make_verified(changed(settings, uploads_dir=folder), connected)
    pack = settings.backup_dir / f"{backup.backup_id}.files.tar.zst"
    pack.write_bytes(bytes(pack.stat().st_size))
    with pytest.raises(BackupDamaged, match="not what its manifest says"):
        upload(settings, connected, backup.backup_id)
    assert names_on(double) == []


def test_retention_finishes_a_deletion_that_died_between_two_files(
    connected: Engine, strict: Settings, double: DriveDouble
) -> None:
    old = make_verified(strict, connected)
    age(strict, old, 40)
    upload(strict, connected, old.backup_id)
    upload(strict, connected, make_verified(strict, connected).backup_id)
    double.faults.add(Fault("delete", lose_reply=True))
    first = jobs.retain(strict, connected)
    assert (first.state, len(names_on(double))) == ("partial", 3)
    assert f"{old.backup_id}.json" in names_on(double)
    jobs.retain(strict, connected)
    assert len(names_on(double)) == 2


def test_upload_that_drive_is_away_for_is_tried_again(
    connected: Engine, settings: Settings, double: DriveDouble, tmp_path: Path
) -> None:
    backup_id = make_verified(settings, connected).backup_id
    double.faults.add(Fault("ids", 503, retry_after="120"))
    with pytest.raises(DriveUnavailable) as caught:
        upload(settings, connected, backup_id)
    assert caught.value.retry_after_s == 120
    assert row(connected)["last_backup_status"] == "partial"
    assert upload(settings, connected, backup_id).state == "succeeded"
    assert row(connected)["last_backup_status"] == "success"


def test_what_an_outage_left_behind_follows_the_next_upload(
    connected: Engine, settings: Settings, double: DriveDouble
) -> None:
    backups = []
    for days in (9, 6, 3, 0):
        backup = make_verified(settings, connected)
        if days:
            age(settings, backup, days)
        backups.append(backup.backup_id)
    uploaded = []
    waiting: list[Mapping[str, Any]] = [{"backup_id": backups[3]}]
    while waiting:
        params = waiting.pop()
        uploaded.append(params["backup_id"])
        outcome = upload(settings, connected, **params)
        waiting += [item.params for item in outcome.follow_ups if item.job == "upload_backup"]
    assert uploaded == backups[::-1]
    assert len(double.state.contents()) == 8
    gone = upload(settings, connected, "20200101T000000Z-00000000")
    assert (gone.state, "no longer in the folder" in gone.message) == ("skipped", True)


def test_uploads_that_start_at_the_same_moment_make_one_folder(
    connected: Engine, settings: Settings, double: DriveDouble
) -> None:
    double.state.search_lags = True
    wishes = read_wishes(connected)
    barrier = threading.Barrier(4)

    def look(_: int) -> str:
        with open_drive(settings, connected, execution=Execution()) as store:
            barrier.wait(10)
            return use_folder(settings, connected, wishes, store).file_id

    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(look, range(4)))
    (folder,) = double.state.folders()
    assert found == {folder.meta["id"]}
    assert double.count("create") == 1


def test_another_file_stands_beside_the_backups_once(
    settings: Settings, connected: Engine, double: DriveDouble, tmp_path: Path
) -> None:
    path = tmp_path / "report.csv"
    path.write_bytes(b"a,b\n")
    first, second = (
        upload_beside_backups(settings, connected, path, name="تقرير.csv", execution=Execution()) for _ in range(2)
    )
    assert (first["found_on_drive"], second["found_on_drive"]) == (False, True)
    assert first["file_id"] == second["file_id"]
    jobs.retain(settings, connected)
    assert names_on(double) == ["تقرير.csv"]
