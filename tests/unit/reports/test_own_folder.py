from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.processes import wait_for

from k9ops.reports.pdf.own_folder import OwnFolder, remove_abandoned_folders


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_folder_in_use_stays_and_goes_when_it_is_removed(temporary: Path) -> None:
    folder = OwnFolder()
    (folder.path / "font").touch()
    assert remove_abandoned_folders() == 0
    folder.remove()
    assert list(temporary.iterdir()) == []


def test_folder_stays_as_long_as_a_child_uses_it_and_is_abandoned_after_that(temporary: Path) -> None:
    script = """
import subprocess, sys
from k9ops.reports.pdf.own_folder import OwnFolder
folder = OwnFolder()
child = subprocess.Popen(["cat"], pass_fds=[folder.descriptor])
print(folder.path, flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"TMPDIR": str(temporary)}
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        path = Path(parent.stdout.readline().decode().strip())
        parent.wait()
        assert path.parent == temporary
        assert remove_abandoned_folders() == 0
        parent.stdin.close()
        assert parent.stdout.read() == b""  # the child has ended
        wait_for(lambda: remove_abandoned_folders() == 1)
    assert not path.exists()
