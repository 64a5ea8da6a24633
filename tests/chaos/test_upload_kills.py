"""64 MB to the double of Drive, cut at every border of a chunk and in the middle, the process killed at random."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.drive_double.connecting import make_tokens
from tests.drive_double.faults import Fault
from tests.drive_double.server import DriveDouble, folder_meta, running_double
from tests.processes import ROOT, wait_for

CHUNK = 2 * 1024 * 1024
SIZE = 64 * 1000 * 1000


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "20261125T000000Z-4f1c2a9b.dump"
    path.write_bytes(random.Random(4).randbytes(SIZE))  # noqa: S311 - the same each time
    return path


def start(plan: dict[str, Any]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.uploading"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(plan))
    process.stdin.close()
    return process


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    output = process.stdout.read()
    process.stdout.close()
    assert process.wait() == 0, output
    document: dict[str, Any] = json.loads(output.splitlines()[-1])
    return document


def make_plan(double: DriveDouble, archive: Path, tmp_path: Path) -> dict[str, Any]:
    folder = double.state.add_file(folder_meta("K9 Database Backups"))
    return {
        "url": double.url,
        "tokens": make_tokens(double, is_fresh=True).encode(),
        "path": str(archive),
        "marks": str(tmp_path / "marks.json"),
        "folder_id": folder.meta["id"],
        "chunk_bytes": CHUNK,
    }


def kill_after_chunks(victim: subprocess.Popen[str], double: DriveDouble, chunks: int) -> None:
    """Kill a process when so many more chunks have begun to arrive, unless it ends before."""
    awaited = len(double.state.chunks) + chunks
    with victim:
        wait_for(lambda: len(double.state.chunks) >= awaited or victim.poll() is not None)
        victim.kill()


def check_result(double: DriveDouble, archive: Path, file_id: str) -> None:
    (stored,) = double.state.contents()
    assert stored.meta["id"] == file_id
    assert bytes(stored.content) == archive.read_bytes()


def test_cuts_at_every_border_and_in_the_middle_of_chunks_make_one_file(archive: Path, tmp_path: Path) -> None:
    with running_double() as double:
        plan = make_plan(double, archive, tmp_path)
        borders = range(0, SIZE, CHUNK)
        cuts = {*borders, *(border + CHUNK // 2 + 12_345 for border in borders if border + CHUNK < SIZE), SIZE - 1}
        double.faults.cut_offsets = set(cuts)
        double.faults.add(Fault("chunk", lose_reply=True))
        done = finish(start(plan))
        check_result(double, archive, done["file_id"])
        assert double.faults.cut_offsets == set()
        assert done["sent_bytes"] <= SIZE + len(cuts) * CHUNK
        assert len({upload_id for upload_id, _, _ in double.state.chunks}) == 1


@pytest.mark.parametrize("seed", range(4))
def test_process_killed_at_random_goes_on_and_makes_one_file(seed: int, archive: Path, tmp_path: Path) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same each time
    with running_double() as double:
        plan = make_plan(double, archive, tmp_path)
        double.state.search_lags = True
        double.faults.cut_offsets = {chance.randrange(SIZE) for _ in range(8)}
        cuts = len(double.faults.cut_offsets)
        kills = 0
        while kills < 6:
            kill_after_chunks(start(plan), double, chance.randrange(1, 6))
            kills += 1
        if seed % 2:
            double.faults.add(Fault("chunk", lose_reply=True))
        done = finish(start(plan))
        check_result(double, archive, done["file_id"])
        sent = sum(length for _, _, length in double.state.chunks)
        assert sent <= SIZE + (cuts - len(double.faults.cut_offsets) + kills + 1) * CHUNK
        assert double.count("open") == 1


def test_process_killed_before_the_last_reply_finds_its_file(archive: Path, tmp_path: Path) -> None:
    with running_double() as double:
        plan = make_plan(double, archive, tmp_path)
        double.state.search_lags = True
        with start(plan) as victim:
            wait_for(lambda: double.state.contents() or victim.poll() is not None)
            victim.kill()
        double.state.sessions.clear()
        done = finish(start(plan))
        check_result(double, archive, done["file_id"])
        assert done["sent_bytes"] == 0
