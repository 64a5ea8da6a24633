"""The disk is full in the middle of a backup and of a report: it is said, nothing is left, and later it works."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Command

UNSHARE = "/usr/bin/unshare"
WRITING = "The disk is full: the file could not be written."

# In a mount namespace of its own, so that no right is needed, and the file system goes with its last process: prepare,
# run a command that must fail, compare what was there before and after, make room, and run the command again.
SCRIPT = """
set -e
mount -t tmpfs -o size=$SIZE none disk
sh -c "$PREPARE" > prepared 2>&1
find disk -type f ! -name '.*' | sort > before
"$@" > first && exit 3
find disk -type f ! -name '.*' | sort > after
cmp before after
mount -o remount,size=96m disk
"$@" > second
"""
PHOTOS = """
import os, psycopg
with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    connection.execute("CREATE TABLE public.photo (content bytea)")
    with connection.cursor().copy("COPY public.photo FROM STDIN") as copy:
        for _ in range(200):
            copy.write_row([os.urandom(100_000)])
"""


@pytest.fixture
def k9ops(tmp_path: Path, database_url: str, redis_url: str) -> Command:
    """The command with the sample unit, and room for everything."""
    (tmp_path / "disk").mkdir()
    variables = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "K9OPS_BACKUP_DIR": str(tmp_path / "disk"),
        "K9OPS_REPORTS_DIR": str(tmp_path / "disk"),
        "K9OPS_BACKUP_MIN_FREE_BYTES": "0",
    }
    command = Command(tmp_path, variables)
    command("db", "upgrade")
    command("db", "seed", "--generation", "B")
    return command


def run_on_small_disk(
    k9ops: Command, size: str, *arguments: str, prepare: str = ""
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the run of a command when the disk is full, and when there is room again."""
    done = subprocess.run(
        [UNSHARE, "-rm", "sh", "-c", SCRIPT, "sh", sys.executable, "-m", "k9ops", *arguments, "--json"],
        cwd=k9ops.folder,
        env={**k9ops.environment, "SIZE": size, "PREPARE": prepare, "PYTHON": sys.executable, "PHOTOS": PHOTOS},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((k9ops.folder / name).read_text(encoding="utf-8")) for name in ("first", "second"))
    return find_run(first), find_run(second)


def find_run(document: dict[str, Any]) -> dict[str, Any]:
    """Return the run that was asked for."""
    return dict(document["runs"][0] if "runs" in document else document["run"])


def test_backup_that_fills_the_disk_fails_for_that_reason_leaves_nothing_and_works_when_there_is_room(
    k9ops: Command,
) -> None:
    prepare = '"$PYTHON" -m k9ops backup create; "$PYTHON" -c "$PHOTOS"'
    full, whole = run_on_small_disk(k9ops, "16m", "backup", "create", prepare=prepare)
    assert (full["state"], full["error_class"], full["message"]) == ("retrying", "DiskFull", WRITING)
    assert whole["state"] == "succeeded"


def test_report_that_fills_the_disk_fails_for_that_reason_leaves_nothing_and_works_when_there_is_room(
    k9ops: Command,
) -> None:
    for kind, size in (("csv", "12k"), ("pdf", "64k")):  # full under the rows, and under the PDF
        full, whole = run_on_small_disk(k9ops, size, "report", "create", "dogs", "--format", kind, "--here")
        assert (full["state"], full["error_class"], full["message"]) == ("retrying", "DiskFull", WRITING)
        assert whole["state"] == "succeeded"
