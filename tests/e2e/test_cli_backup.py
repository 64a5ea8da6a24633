from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import psycopg
from tests.e2e.conftest import Command

NOWHERE = "postgresql://k9:hunter2@127.0.0.1:1/k9"


def test_backup_create_makes_verifies_and_records(k9ops: Command) -> None:
    runs = k9ops.json("backup", "create")["runs"]
    assert [(run["job"], run["path"]) for run in runs] == [
        ("create_backup", "inline"),
        ("verify_backup", "inline"),
        ("apply_retention", "inline"),
    ]
    assert [run["state"] for run in runs] == ["succeeded", "succeeded", "skipped"]
    archive = k9ops.folder / "backups" / f"{runs[0]['evidence']['backup_id']}.dump"
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == runs[0]["evidence"]["sha256"]
    assert k9ops.json("backup", "list")["backups"][0]["state"]["verification"]["state"] == "verified"


def test_backup_create_leaves_the_verification_to_a_worker_when_asked(k9ops: Command) -> None:
    done = k9ops("backup", "create", "--no-verify")
    assert "A worker verifies it" in done.stderr
    states = {run["job"]: run["state"] for run in k9ops.json("runs", "list")["runs"]}
    assert states == {"create_backup": "succeeded", "verify_backup": "queued"}
    assert "unverified" in k9ops("backup", "list").stdout


def test_backup_create_fails_when_no_client_suits(k9ops: Command, tmp_path: Path) -> None:
    done = k9ops("backup", "create", code=1, K9OPS_PG_BIN_DIR=str(tmp_path))
    assert "create_backup  failed  No pg_dump and pg_restore here suit" in done.stdout


def test_backup_list_and_show_need_no_database(k9ops: Command, backup: dict[str, Any]) -> None:
    text = k9ops("backup", "show", backup["backup_id"][:12], DATABASE_URL=NOWHERE).stdout
    assert backup["manifest"]["sha256"] in text
    assert "public.notification" in text
    assert "verification  verified" in text
    assert backup["backup_id"] in k9ops("backup", "list", DATABASE_URL=NOWHERE).stdout
    shown = k9ops.json("backup", "show", backup["backup_id"], DATABASE_URL=NOWHERE)
    assert shown["manifest"]["tables"]["public.notification"] == 1000


def test_backup_verify_finds_a_flipped_bit(k9ops: Command, backup: dict[str, Any]) -> None:
    assert k9ops.json("backup", "verify", backup["backup_id"])["verification"]["state"] == "verified"
    archive = Path(backup["archive"])
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    assert "failed" in k9ops("backup", "verify", backup["backup_id"], code=1).stdout
    assert k9ops.json("backup", "list")["backups"][0]["state"]["verification"]["state"] == "failed"
    assert "Error" in k9ops("backup", "restore", backup["backup_id"], code=1).stderr


def test_backup_pin_keeps_a_backup_until_unpin(k9ops: Command, backup: dict[str, Any]) -> None:
    k9ops("backup", "pin", backup["backup_id"], "--reason", "قضية 17")
    assert "قضية 17" in k9ops("backup", "list").stdout
    assert [item["reason"] for item in k9ops.json("backup", "prune", "--dry-run")["kept"]] == ["pinned"]
    k9ops("backup", "unpin", backup["backup_id"])
    assert k9ops.json("backup", "show", backup["backup_id"])["state"]["pinned_at"] is None


def test_backup_prune_deletes_what_the_dry_run_said(k9ops: Command, backup: dict[str, Any]) -> None:
    k9ops("backup", "create")
    policy = {f"K9OPS_BACKUP_KEEP_{period}": "0" for period in ("WEEKLY", "MONTHLY")} | {"K9OPS_BACKUP_KEEP_DAILY": "1"}
    with psycopg.connect(k9ops.environment["DATABASE_URL"]) as connection:
        connection.execute(
            "CREATE TABLE public.backup_settings (id int PRIMARY KEY, auto_backup_enabled bool, backup_frequency text,"
            " backup_hour int, retention_days int, google_drive_enabled bool, google_drive_folder_id text,"
            " last_backup_at timestamp, last_backup_status text, last_backup_message text)"
        )
        connection.execute("INSERT INTO public.backup_settings VALUES (1, true, 'DAILY', 2, 0, false)")
    planned = k9ops.json("backup", "prune", "--dry-run", **policy)
    assert [item["backup_id"] for item in planned["deleted"]] == [backup["backup_id"]]
    assert Path(backup["archive"]).exists()
    done = k9ops.json("backup", "prune", **policy)
    assert done["deleted"] == planned["deleted"]
    assert not Path(backup["archive"]).exists()
    assert k9ops.json("runs", "list", "--limit", "1")["runs"][0]["job"] == "apply_retention"
