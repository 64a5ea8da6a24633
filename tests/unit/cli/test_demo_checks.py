from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from k9ops.cli.demo_checks import check_archive, check_processes, check_verification
from k9ops.process_tree import ProcessId, find_descendants

CONTENT = b"an archive"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
MANIFEST: dict[str, Any] = {
    "sha256": DIGEST,
    "size_bytes": len(CONTENT),
    "tables": {"public.dog": 60, "public.user": 2},
}
VERIFIED = {"state": "verified", "tables_compared": 2, "rows_compared": 62, "differences": []}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "x.dump"
    path.write_bytes(CONTENT)
    path.chmod(0o600)
    return path


def test_check_archive_passes_a_whole_file(archive: Path) -> None:
    assert check_archive(archive, MANIFEST, claimed_digests={DIGEST}).is_ok


@pytest.mark.parametrize(
    ("content", "mode", "manifest", "claimed"),
    [
        (b"An archive", 0o600, {}, {DIGEST}),
        (CONTENT, 0o640, {}, {DIGEST}),
        (CONTENT, 0o600, {"size_bytes": 9}, {DIGEST}),
        (CONTENT, 0o600, {"sha256": "0" * 64}, {DIGEST}),
        (CONTENT, 0o600, {}, {"0" * 64}),
        (CONTENT, 0o600, {}, {DIGEST, "0" * 64}),
    ],
)
def test_check_archive_fails_when_one_thing_differs(
    archive: Path, content: bytes, mode: int, manifest: dict[str, Any], claimed: set[str]
) -> None:
    archive.write_bytes(content)
    archive.chmod(mode)
    assert not check_archive(archive, {**MANIFEST, **manifest}, claimed_digests=claimed).is_ok


def test_check_verification_passes_when_all_was_compared() -> None:
    assert check_verification(MANIFEST, {"verification": VERIFIED}).is_ok


@pytest.mark.parametrize(
    "change",
    [
        {"state": "unverified"},
        {"state": "failed"},
        {"rows_compared": 61},
        {"tables_compared": 1},
        {"differences": [{"table": "public.dog"}]},
    ],
)
def test_check_verification_fails_when_one_thing_differs(change: dict[str, Any]) -> None:
    assert not check_verification(MANIFEST, {"verification": VERIFIED | change}).is_ok


def test_check_verification_fails_when_there_was_nothing_to_compare() -> None:
    nothing = VERIFIED | {"tables_compared": 0, "rows_compared": 0}
    assert not check_verification(MANIFEST | {"tables": {}}, {"verification": nothing}).is_ok


def test_check_processes_names_what_still_runs() -> None:
    (me,) = [process for process in find_descendants(os.getppid()) if process.pid == os.getpid()]
    check = check_processes({me, ProcessId(me.pid, me.started - 1, "gone")})
    assert (check.is_ok, check.detail) == (False, f"still running: {me.name} ({me.pid})")
    assert check_processes({ProcessId(me.pid, me.started - 1, "gone")}).is_ok
