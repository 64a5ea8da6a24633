from __future__ import annotations

import subprocess
import sys
import threading

from tests.processes import DEADLINE_S, wait_for

from k9ops.broker.breaker import CircuitBreaker

FORKED = """
import os
from k9ops.broker.breaker import CircuitBreaker

def refuse():
    raise OSError("away")

breaker = CircuitBreaker(refuse, pause_s=3600)
breaker.note_failure("away")
assert breaker.is_open
child = os.fork()
if child == 0:
    os._exit(breaker.is_open)
assert os.waitpid(child, 0)[1] == 0, "the child holds what nobody will tell it the end of"
assert breaker.is_open
"""


def test_breaker_is_open_until_a_probe_succeeds() -> None:
    probes: list[int] = []
    may_succeed = threading.Event()

    def probe() -> None:
        probes.append(len(probes))
        if len(probes) < 3:
            raise OSError
        assert may_succeed.wait(DEADLINE_S)

    breaker = CircuitBreaker(probe, pause_s=0)
    assert not breaker.is_open
    breaker.note_failure("refused")
    breaker.note_failure("refused again")
    assert breaker.is_open
    may_succeed.set()
    wait_for(lambda: not breaker.is_open)
    assert len(probes) == 3


def test_closed_breaker_probes_no_more_and_does_not_open() -> None:
    breaker = CircuitBreaker(lambda: None)
    breaker.close()
    breaker.note_failure("refused")
    assert not breaker.is_open


def test_forked_child_does_not_inherit_that_redis_is_away() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stderr
