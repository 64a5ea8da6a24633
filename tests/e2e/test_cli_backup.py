from __future__ import annotations

import hashlib
import os
import pty
import select
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import psycopg
import pyrage
import pytest
from tests.e2e.conftest import Command, wait_for

NOWHERE = "postgresql://k9:hunter2@127.0.0.1:1/k9"


@pytest.fixture
def backup(k9ops: Command) -> dict[str, Any]:
    """A backup, made and verified."""
    k9ops("backup", "create")
    (found,) = k9ops.json("backup", "list")["backups"]
    return dict(found)


def count_rows(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM public.notification").fetchone()
    assert row is not None
    return int(row[0])


def drop_database(url: str, name: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


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


def test_backup_restore_makes_a_database_beside_the_live_one(
    k9ops: Command, backup: dict[str, Any], database_url: str
) -> None:
    base, _, live = database_url.rpartition("/")
    report = k9ops.json("backup", "restore", backup["backup_id"], "--into", f"{live}_old")
    try:
        assert (report["database"], report["tables_compared"]) == (f"{live}_old", len(backup["manifest"]["tables"]))
        assert count_rows(f"{base}/{live}_old") == 1000
        assert count_rows(database_url) == 1000
        done = k9ops("backup", "restore", backup["backup_id"], "--into", f"{live}_old", code=2)
        assert "exists already" in done.stderr
    finally:
        drop_database(database_url, f"{live}_old")


def test_backup_restore_over_live_wants_the_databases_name(
    k9ops: Command, backup: dict[str, Any], database_url: str
) -> None:
    live = database_url.rpartition("/")[2]
    over_live = ("backup", "restore", backup["backup_id"], "--over-live")
    assert f"--over-live needs --confirm {live}" in k9ops(*over_live, code=2).stderr
    assert "nothing was changed" in k9ops(*over_live, "--confirm", "k9", code=2).stderr
    assert len(k9ops.json("backup", "list")["backups"]) == 1


def test_backup_restore_over_live_replaces_and_keeps_what_was(
    k9ops: Command, backup: dict[str, Any], database_url: str
) -> None:
    base, _, live = database_url.rpartition("/")
    with psycopg.connect(database_url) as connection:
        connection.execute("DELETE FROM public.notification WHERE id > 10")
    report = k9ops.json("backup", "restore", backup["backup_id"], "--over-live", "--confirm", live)
    try:
        assert count_rows(database_url) == 1000
        assert count_rows(f"{base}/{report['previous_database']}") == 10
        safety = k9ops.json("backup", "show", report["safety_backup_id"])
        assert safety["manifest"]["tables"]["public.notification"] == 10
    finally:
        drop_database(f"{base}/postgres", report["previous_database"])


def test_backup_restore_over_live_asks_on_a_terminal(k9ops: Command, backup: dict[str, Any], database_url: str) -> None:
    mine, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "k9ops", "backup", "restore", backup["backup_id"], "--over-live"],
        cwd=k9ops.folder,
        env=k9ops.environment,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(theirs)
    os.write(mine, b"another\n")
    _, errors = process.communicate(timeout=60)
    os.close(mine)
    live = database_url.rpartition("/")[2]
    assert process.returncode == 2
    assert f"Type the name of the live database ({live})" in errors
    assert "'another' is not the name of the live database" in errors


@pytest.fixture
def secret(k9ops: Command, tmp_path: Path) -> str:
    """A private key, in the file `key`; backups are encrypted to it."""
    identity = pyrage.x25519.Identity.generate()
    (tmp_path / "key").write_text(f"# made by a test\n{identity}\n")
    (tmp_path / "other").write_text(str(pyrage.x25519.Identity.generate()))
    k9ops.environment["K9OPS_BACKUP_RECIPIENTS"] = str(identity.to_public())
    return str(identity)


def test_backup_verify_and_restore_take_the_private_key_of_an_encrypted_backup(
    k9ops: Command, secret: str, database_url: str
) -> None:
    runs = k9ops.json("backup", "create", code=1)["runs"]
    assert [(run["job"], run["state"]) for run in runs] == [
        ("create_backup", "succeeded"),
        ("verify_backup", "partial"),
    ]
    backup_id = runs[0]["evidence"]["backup_id"]
    keys = {item["name"]: item for item in k9ops.json("check", "--timeout", "0", code=1)["checks"]}["backup keys"]
    assert (keys["status"], "has opened a backup yet" in keys["message"]) == ("warn", True)
    assert "belongs to age1" in k9ops("backup", "verify", backup_id, "--identity", "other", code=2).stderr
    assert "cannot be read" in k9ops("backup", "verify", backup_id, "--identity", "nowhere", code=2).stderr
    shown = k9ops("backup", "verify", backup_id, "--identity", "key").stdout
    assert "a private key" in shown
    assert "verified" in shown
    assert k9ops.json("backup", "create")["runs"][1]["state"] == "succeeded"

    base, _, live = database_url.rpartition("/")
    restore = ("backup", "restore", backup_id, "--into", f"{live}_old")
    assert "is encrypted: give its private key with --identity" in k9ops(*restore, code=2).stderr
    k9ops(*restore, "--identity", "key")
    try:
        assert count_rows(f"{base}/{live}_old") == 1000
    finally:
        drop_database(database_url, f"{live}_old")


def test_backup_restore_asks_for_the_private_key_and_shows_it_nowhere(
    k9ops: Command, secret: str, database_url: str
) -> None:
    backup_id = k9ops.json("backup", "create", "--no-verify")["runs"][0]["evidence"]["backup_id"]
    live = database_url.rpartition("/")[2]
    mine, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "k9ops", "backup", "restore", backup_id, "--into", f"{live}_asked"],
        cwd=k9ops.folder,
        env=k9ops.environment,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    asked = process.stderr.readline(len("Private key"))
    # What is typed before the echo is off is thrown away.
    wait_for(lambda: not termios.tcgetattr(theirs)[3] & termios.ECHO)
    os.write(mine, secret.encode() + b"\n")
    output, errors = process.communicate(timeout=60)
    echoed = os.read(mine, 4096).decode() if select.select([mine], [], [], 0)[0] else ""
    os.close(theirs)
    os.close(mine)
    try:
        assert process.returncode == 0, errors
        assert "is restored into the new database" in output
        assert asked == "Private key"
        assert secret not in output + errors + echoed
    finally:
        drop_database(database_url, f"{live}_asked")


def test_backup_restore_brings_the_uploads_back(k9ops: Command, database_url: str, tmp_path: Path) -> None:
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "صقر.jpg").write_bytes(b"photo")
    k9ops.environment["K9OPS_UPLOADS_DIR"] = str(tmp_path / "uploads")
    runs = k9ops.json("backup", "create")["runs"]
    assert runs[0]["evidence"]["uploads"]["files"] == 1
    backup_id, live = runs[0]["evidence"]["backup_id"], database_url.rpartition("/")[2]
    assert "1 files of 5 B" in k9ops("backup", "show", backup_id).stdout
    assert "5 B  صقر.jpg" in k9ops("backup", "files", backup_id).stdout
    assert k9ops.json("backup", "files", backup_id, "--missing")["files"] == []
    restore = ("backup", "restore", backup_id, "--into", f"{live}_old", "--files-into")
    assert "is there already" in k9ops(*restore, str(tmp_path / "uploads"), code=2).stderr
    try:
        assert k9ops.json(*restore, str(tmp_path / "again"))["uploads"]["files"] == 1
        assert (tmp_path / "again" / "صقر.jpg").read_bytes() == b"photo"
    finally:
        drop_database(database_url, f"{live}_old")
