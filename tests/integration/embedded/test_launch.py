"""A server hears of its parent's death, whatever its parent did with its own signals."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.processes import wait_for

from k9ops.embedded import launch

LIMIT_S = 30
PARENT = """
import os, signal, subprocess, sys

{prepare}
command = [sys.executable, "-I", "-S", sys.argv[1], str(os.getpid()), str(os.geteuid()), str(os.getegid())]
print(subprocess.Popen([*command, "/bin/sleep", "600"]).pid, flush=True)
signal.pause()
"""


@pytest.mark.parametrize(
    "prepare",
    [
        "",
        "signal.signal(signal.SIGINT, signal.SIG_IGN)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])",
    ],
    ids=["as_usual", "ignored_as_in_a_background_job", "blocked"],
)
def test_become_server_ends_with_its_parent_when_sigint_is(prepare: str) -> None:
    command = [sys.executable, "-c", PARENT.format(prepare=prepare), launch.__file__]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        pidfd = os.pidfd_open(pid)
        try:
            wait_for(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n", LIMIT_S)
            parent.kill()
            assert select.select([pidfd], [], [], LIMIT_S)[0]
        finally:
            parent.kill()
            if not select.select([pidfd], [], [], 0)[0]:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)


def test_become_server_starts_nothing_when_its_parent_has_gone_already() -> None:
    nobody = str(os.getpid() + 1)
    arguments = [nobody, str(os.geteuid()), str(os.getegid()), "/bin/echo", "started"]
    done = subprocess.run(
        [sys.executable, "-I", "-S", launch.__file__, *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
