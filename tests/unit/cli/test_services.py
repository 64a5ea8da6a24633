from __future__ import annotations

import os
import subprocess
import sys

from k9ops.cli.services import Backoff, plan_workers
from k9ops.process_tree import find_descendants, still_running


def test_plan_workers_gives_each_long_queue_a_worker_of_its_own() -> None:
    short, *long = plan_workers(["k9_tasks", "backups", "reports", "schedules"])
    assert short.queues == ("k9_tasks", "schedules")
    assert [(plan.queues, plan.threads, plan.prefetch) for plan in long] == [
        (("backups",), 1, 1),
        (("reports",), 1, 1),
    ]


def test_backoff_doubles_until_a_steady_life() -> None:
    backoff = Backoff()
    assert [backoff.next_wait_s(lived_s=1) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert backoff.next_wait_s(lived_s=100) == 1
    assert backoff.next_wait_s(lived_s=1) == 2


def test_find_descendants_finds_a_grandchild_until_it_has_ended() -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = {process for process in find_descendants() if process.pid != child.pid} & find_descendants(child.pid)
        assert len(found) == 1
        assert still_running(found) == found
        child.communicate(b"\n")
    assert still_running(found) == set()
    assert os.getpid() not in {process.pid for process in found}
