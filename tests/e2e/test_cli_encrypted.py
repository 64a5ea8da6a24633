"""Encrypted backups and the uploads folder, on the command line."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
from pathlib import Path

import psycopg
import pyrage
import pytest
from tests.e2e.conftest import Command, wait_for


def count_rows(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM public.notification").fetchone()
    assert row is not None
    return int(row[0])


def drop_database(url: str, name: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


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
    restore = ("backup", "restore", backup_id, "--to", f"{live}_old")
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
        [sys.executable, "-m", "k9ops", "backup", "restore", backup_id, "--yes", "--to", f"{live}_asked"],
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
    restore = ("backup", "restore", backup_id, "--to", f"{live}_old", "--files-into")
    assert "is there already" in k9ops(*restore, str(tmp_path / "uploads"), code=2).stderr
    try:
        assert k9ops.json(*restore, str(tmp_path / "again"))["uploads"]["files"] == 1
        assert (tmp_path / "again" / "صقر.jpg").read_bytes() == b"photo"
    finally:
        drop_database(database_url, f"{live}_old")
