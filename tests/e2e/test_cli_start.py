"""How the command behaves before and around its work: while it loads, and without a place to write to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.conftest import Command

INTERRUPTED_WHILE_LOADING = """
import runpy, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "k9ops.cli.main":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupting())
runpy.run_module("k9ops", run_name="__main__")
"""


def test_command_ends_with_130_when_it_is_interrupted_while_it_loads(bare_k9ops: Command) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WHILE_LOADING],
        cwd=bare_k9ops.folder,
        env=bare_k9ops.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Error: Interrupted.\n")


@pytest.mark.parametrize("closed", [1, 2], ids=["stdout", "stderr"])
def test_command_works_with_a_closed_stream(bare_k9ops: Command, closed: int) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -m k9ops config show {closed}>&-', sys.executable],
        cwd=bare_k9ops.folder,
        env=bare_k9ops.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "fault" not in done.stderr
    assert ("DATABASE_URL" in done.stdout) is (closed == 2)


def test_command_says_that_the_disk_is_full(bare_k9ops: Command) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "k9ops", "config", "show"],
            cwd=bare_k9ops.folder,
            env=bare_k9ops.environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 1
    assert done.stderr == "Error: No space left on device.\n"
