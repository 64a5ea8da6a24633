from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyrage
import pytest

from k9ops.backups.drills import record_drill
from k9ops.cli.checks.backups import check_backup_keys, check_uploads_folder
from k9ops.config.settings import Settings
from k9ops.errors import KeyUnsuitable

IDENTITY = pyrage.x25519.Identity.generate()
PUBLIC = str(IDENTITY.to_public())


def keys(folder: Path, **settings: object) -> list[tuple[str, str]]:
    return [(found.status, found.message) for found in check_backup_keys(Settings(backup_dir=folder, **settings))]  # type: ignore[arg-type]


def test_check_backup_keys_asks_for_a_drill_until_there_is_a_recent_one(tmp_path: Path) -> None:
    assert keys(tmp_path) == []
    ((status, message),) = keys(tmp_path, backup_recipients=PUBLIC)
    assert status == "warn"
    assert "has opened a backup yet" in message
    record_drill(tmp_path, [PUBLIC], "20260301T020000Z-0000002a")
    ((status, message),) = keys(tmp_path, backup_recipients=PUBLIC)
    assert status == "ok"
    assert "20260301T020000Z-0000002a" in message
    drills = json.loads((tmp_path / "drills.json").read_text())
    drills["keys"][PUBLIC]["at"] = (datetime.now(UTC) - timedelta(days=181)).isoformat()
    (tmp_path / "drills.json").write_text(json.dumps(drills))
    assert keys(tmp_path, backup_recipients=PUBLIC)[0][0] == "warn"


def test_check_backup_keys_wants_the_private_key_elsewhere_and_closed(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(str(IDENTITY))
    file.chmod(0o644)
    statuses = keys(tmp_path, backup_recipients=PUBLIC, backup_identity_file=file)
    assert [status for status, _ in statuses] == ["warn", "warn", "warn"]
    assert "Others may read the private key" in statuses[0][1]
    assert "on the machine that makes them" in statuses[1][1]
    file.chmod(0o600)
    assert keys(tmp_path, backup_identity_file=file) == []
    file.write_text("nonsense")
    with pytest.raises(KeyUnsuitable):
        keys(tmp_path, backup_identity_file=file)


def test_check_uploads_folder_says_whether_it_can_be_read(tmp_path: Path) -> None:
    assert list(check_uploads_folder(Settings())) == []
    (found,) = check_uploads_folder(Settings(uploads_dir=tmp_path))
    assert found.status == "ok"
    (found,) = check_uploads_folder(Settings(uploads_dir=tmp_path / "nowhere"))
    assert found.status == "fail"
