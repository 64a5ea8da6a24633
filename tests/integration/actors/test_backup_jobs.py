"""The backup jobs from `backup_settings` to `backup_settings`, without a queue."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyrage
import pytest
from sqlalchemy import Engine, text

from k9ops.backups import jobs
from k9ops.backups.catalogue import archive_path, list_backups
from k9ops.config.settings import Settings
from k9ops.db.sample import seed
from k9ops.errors import BackupDamaged, DiskFull, K9opsError, ParamsInvalid, RunInterrupted
from k9ops.outcome import Execution, Outcome

SLOT = "2026-11-24T02:00:00+03:00"


@pytest.fixture(params=["A", "B"])
def seeded(request: pytest.FixtureRequest, engine: Engine) -> Engine:
    seed(engine, request.param, today=date(2026, 11, 24))
    return engine


def create(settings: Settings, engine: Engine, execution: Execution | None = None, **options: Any) -> Outcome:
    wanted = {"slot": None, "only_if_enabled": True} | options
    return jobs.create(settings, engine, execution=execution or Execution(), **wanted)


def application_row(engine: Engine) -> Mapping[str, Any]:
    with engine.begin() as connection:
        return connection.execute(text("SELECT * FROM public.backup_settings")).mappings().one()


def change_settings(engine: Engine, **values: Any) -> None:
    changes = ", ".join(f"{name} = :{name}" for name in values)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE public.backup_settings SET {changes}"), values)


def test_create_leads_to_a_verified_backup_that_the_application_shows(seeded: Engine, settings: Settings) -> None:
    before = datetime.now(UTC).replace(tzinfo=None)
    made = create(settings, seeded)
    assert made.state == "succeeded"
    assert application_row(seeded)["last_backup_status"] == "partial"
    (follow_up,) = made.follow_ups
    assert (follow_up.job, follow_up.params) == ("verify_backup", {"backup_id": made.evidence["backup_id"]})

    verified = jobs.verify(settings, seeded, execution=Execution(), backup_id=made.evidence["backup_id"])
    row = application_row(seeded)
    assert (verified.state, row["last_backup_status"], row["last_backup_message"]) == (
        "succeeded", "success", verified.message,
    )  # fmt: skip
    assert verified.evidence["rows_compared"] == made.evidence["rows"] > 5000
    assert row["last_backup_at"] >= before
    assert [item.job for item in verified.follow_ups] == ["apply_retention"]


def test_create_skips_with_the_reason_when_backups_are_switched_off(seeded: Engine, settings: Settings) -> None:
    for off in ({"auto_backup_enabled": False}, {"auto_backup_enabled": True, "backup_frequency": "DISABLED"}):
        change_settings(seeded, **off)
        outcome = create(settings, seeded)
        assert outcome.state == "skipped"
        assert "switched off" in outcome.message
        assert not outcome.follow_ups
    assert application_row(seeded)["last_backup_status"] is None
    assert create(settings, seeded, only_if_enabled=False).state == "succeeded"


def test_create_skips_when_the_application_has_no_settings(engine: Engine, settings: Settings) -> None:
    assert create(settings, engine).state == "skipped"
    assert create(settings, engine, only_if_enabled=False).state == "succeeded"


def test_create_makes_one_backup_for_all_attempts_of_a_run(seeded: Engine, settings: Settings) -> None:
    execution = Execution(uuid.uuid4())
    first, second = (create(settings, seeded, execution, slot=SLOT) for _ in range(2))
    assert first.evidence == second.evidence
    assert str(first.evidence["backup_id"]).startswith("20261123T230000Z-")
    assert len(list_backups(settings.backup_dir).backups) == 1


def test_create_tells_the_application_when_it_fails(seeded: Engine, settings: Settings) -> None:
    greedy = settings.model_copy(update={"backup_min_free_bytes": 10**18})
    with pytest.raises(DiskFull) as caught:
        create(greedy, seeded)
    row = application_row(seeded)
    assert (row["last_backup_status"], row["last_backup_message"]) == ("failed", caught.value.user_message)
    assert list_backups(settings.backup_dir).backups == ()


def test_verify_fails_with_the_reason_when_the_archive_is_damaged(seeded: Engine, settings: Settings) -> None:
    backup_id = str(create(settings, seeded).evidence["backup_id"])
    path = archive_path(settings.backup_dir, backup_id)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    outcome = jobs.verify(settings, seeded, execution=Execution(), backup_id=backup_id)
    assert (outcome.state, outcome.evidence["state"]) == ("failed", "failed")
    assert "SHA-256" in outcome.message
    assert application_row(seeded)["last_backup_status"] == "failed"
    assert not outcome.follow_ups


def test_verify_of_an_old_backup_does_not_cover_up_a_newer_failure(seeded: Engine, settings: Settings) -> None:
    old = str(create(settings, seeded).evidence["backup_id"])
    with pytest.raises(DiskFull):
        create(settings.model_copy(update={"backup_min_free_bytes": 10**18}), seeded)
    assert jobs.verify(settings, seeded, execution=Execution(), backup_id=old).state == "succeeded"
    assert application_row(seeded)["last_backup_status"] == "failed"


def test_create_and_verify_tell_the_application_of_an_unexpected_error(seeded: Engine, settings: Settings) -> None:
    backup_id = str(create(settings, seeded).evidence["backup_id"])
    archive_path(settings.backup_dir, backup_id).unlink()
    with pytest.raises(BackupDamaged):
        jobs.verify(settings, seeded, execution=Execution(), backup_id=backup_id)
    assert application_row(seeded)["last_backup_status"] == "failed"
    change_settings(seeded, last_backup_status="success")
    not_a_folder = settings.model_copy(update={"backup_dir": settings.backup_dir / f"{backup_id}.json"})
    with pytest.raises((OSError, K9opsError)):
        create(not_a_folder, seeded)
    assert application_row(seeded)["last_backup_status"] == "failed"


def test_create_refuses_a_slot_without_an_offset(seeded: Engine, settings: Settings) -> None:
    for slot in ("2026-03-01T02:00:00", "2026-03-01", "nonsense"):
        with pytest.raises(ParamsInvalid, match="with an offset"):
            create(settings, seeded, slot=slot)


def test_retain_takes_the_days_from_the_application(seeded: Engine, settings: Settings) -> None:
    for hour in (1, 2, 3):
        made = create(settings, seeded, slot=f"2026-11-24T{hour:02}:00:00+03:00")
        jobs.verify(settings, seeded, execution=Execution(), backup_id=str(made.evidence["backup_id"]))
    few = settings.model_copy(update={"backup_keep_daily": 1, "backup_keep_weekly": 0, "backup_keep_monthly": 0})
    assert jobs.retain(few, seeded).state == "skipped"
    change_settings(seeded, retention_days=0)
    assert len(jobs.retain(few, seeded, dry_run=True).evidence["deleted"]) == 2
    assert len(list_backups(settings.backup_dir).backups) == 3
    outcome = jobs.retain(few, seeded)
    assert (outcome.state, len(outcome.evidence["deleted"])) == ("succeeded", 2)
    (left,) = list_backups(settings.backup_dir).backups
    assert left.backup_id == made.evidence["backup_id"]


def test_create_and_verify_of_an_encrypted_backup_are_green_once_a_private_key_has_opened_one(
    seeded: Engine, settings: Settings, tmp_path: Path
) -> None:
    identity = pyrage.x25519.Identity.generate()
    encrypting = settings.model_copy(update={"backup_recipients": str(identity.to_public())})
    first = create(encrypting, seeded)
    assert first.evidence["recipients"] == [str(identity.to_public())]
    backup_id = str(first.evidence["backup_id"])
    outcome = jobs.verify(encrypting, seeded, execution=Execution(), backup_id=backup_id)
    assert outcome.state == "partial"
    assert "no private key of its recipients has opened any backup yet" in outcome.message
    assert outcome.evidence["opened_with"] == "one_off_key"
    assert application_row(seeded)["last_backup_status"] == "partial"
    assert not outcome.follow_ups, "retention must not build on it"

    (tmp_path / "key").write_text(str(identity))
    drill = encrypting.model_copy(update={"backup_identity_file": tmp_path / "key"})
    outcome = jobs.verify(drill, seeded, execution=Execution(), backup_id=backup_id)
    assert outcome.state == "succeeded"
    assert "with a private key" in outcome.message
    second = create(encrypting, seeded)
    outcome = jobs.verify(encrypting, seeded, execution=Execution(), backup_id=str(second.evidence["backup_id"]))
    assert outcome.state == "succeeded"
    assert "with a one-off key when it was made, and the file is unchanged" in outcome.message
    assert outcome.evidence["rows_compared"] == second.evidence["rows"]
    assert application_row(seeded)["last_backup_status"] == "success"


def test_create_of_an_encrypted_backup_survives_a_rehearsal_that_must_stop(seeded: Engine, settings: Settings) -> None:
    public_key = str(pyrage.x25519.Identity.generate().to_public())
    encrypting = settings.model_copy(update={"backup_recipients": public_key})
    archives = settings.backup_dir.glob

    def stop_once_made() -> None:
        if list(archives("*.json")):
            raise RunInterrupted("The worker shuts down.", reason="shutdown")

    run = Execution(uuid.uuid4(), check_stop=stop_once_made)
    with pytest.raises(RunInterrupted):
        create(encrypting, seeded, run, slot=SLOT)
    made = create(encrypting, seeded, Execution(run.run_id), slot=SLOT)
    assert made.state == "succeeded"
    (backup,) = list_backups(settings.backup_dir).backups
    outcome = jobs.verify(encrypting, seeded, execution=Execution(), backup_id=backup.backup_id)
    assert outcome.state == "partial"
    assert "its digest is right, which is all that can be told" in outcome.message
