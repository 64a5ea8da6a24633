"""Workers, schedulers and a dashboard that live and die with this process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar

from k9ops.embedded import launch

LONG_QUEUES = ("backups", "reports")

# The script `periodiq`, wherever it was installed; the name is how k9ops.periodic knows a scheduler.
_PERIODIQ = "import sys, periodiq; sys.argv[0] = 'periodiq'; periodiq.entrypoint()"

_STOP_LIMIT_S = 30.0
_BACKOFF_MIN_S = 1.0
_BACKOFF_MAX_S = 30.0
_STEADY_AFTER_S = 60.0


@dataclass(frozen=True)
class WorkerPlan:
    """A worker and the queues it serves.

    Attributes:
        name: For a person.
        queues: Names of queues.
        threads: How many runs it executes at once.
        prefetch: Messages that it holds beside those; None is Dramatiq's default.
    """

    name: str
    queues: tuple[str, ...]
    threads: int
    prefetch: int | None = None

    @property
    def title(self) -> str:
        """What a person calls it."""
        return f"Worker {self.name}"

    @property
    def task(self) -> str:
        """What it does, after its title."""
        return f"serves {', '.join(self.queues)}"

    @property
    def variables(self) -> dict[str, str]:
        """What it wants in its environment."""
        return {} if self.prefetch is None else {"dramatiq_queue_prefetch": str(self.prefetch)}

    @property
    def command(self) -> list[str]:
        """The command line; logging is left to k9ops."""
        options = ["--processes", "1", "--threads", str(self.threads), "--skip-logging"]
        return [sys.executable, "-m", "dramatiq", "k9ops.actors", *options, "--queues", *self.queues]


@dataclass(frozen=True)
class SchedulerPlan:
    """A scheduler; several may run side by side.

    Attributes:
        name: For a person.
    """

    name: str = "scheduler"
    title = "Scheduler"
    task = "rings for the timetable"
    variables: ClassVar[dict[str, str]] = {}
    command: ClassVar[list[str]] = [sys.executable, "-c", _PERIODIQ, "k9ops.periodic"]


@dataclass(frozen=True)
class WebPlan:
    """The dashboard.

    Attributes:
        host: Address on which it listens.
        port: Its port.
        name: For a person.
    """

    host: str
    port: int
    name: str = "web"
    title = "Dashboard"
    command: ClassVar[list[str]] = [sys.executable, "-m", "k9ops", "web"]

    @property
    def url(self) -> str:
        """Its address in a browser."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def task(self) -> str:
        """What it does, after its title."""
        return f"answers on {self.url}"

    @property
    def variables(self) -> dict[str, str]:
        """What it wants in its environment."""
        return {"K9OPS_WEB_PORT": str(self.port)}


ServicePlan = WorkerPlan | SchedulerPlan | WebPlan


def plan_workers(queues: Sequence[str]) -> tuple[WorkerPlan, ...]:
    """Give each long queue a worker of its own, which fetches nothing ahead, and one to all the others."""
    short = tuple(sorted(queue for queue in queues if queue not in LONG_QUEUES))
    long = (WorkerPlan(queue, (queue,), threads=1, prefetch=1) for queue in LONG_QUEUES)
    return (WorkerPlan("worker", short, threads=4), *long)


class ServiceProcess:
    """One worker (a Dramatiq master with its child), scheduler or dashboard, in a session of its own.

    Start it from a thread that lives as long as this process: the kernel ends it with that thread.

    Args:
        plan: What it is.
        environment: Its whole environment.
        cwd: Its working directory.
        output: Takes its standard output and error: a file, or `subprocess.PIPE`.
    """

    def __init__(
        self, plan: ServicePlan, *, environment: Mapping[str, str], cwd: Path, output: IO[bytes] | int
    ) -> None:
        self.plan = plan
        self.started_s = time.monotonic()
        self._is_asked_to_stop = False
        identity = [str(os.getpid()), str(os.geteuid()), str(os.getegid())]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", launch.__file__, *identity, *plan.command],
            env={**environment, **plan.variables},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Process id of the master."""
        return self._process.pid

    @property
    def output(self) -> IO[bytes] | None:
        """Its output when that is a pipe."""
        return self._process.stdout

    def exit_code(self) -> int | None:
        """Return how the master ended, None while it runs."""
        return self._process.poll()

    def request_stop(self) -> None:
        """Ask it to put its runs back and end; once only, since Dramatiq takes a second signal as an order to die."""
        if not self._is_asked_to_stop and self.exit_code() is None:
            self._is_asked_to_stop = True
            self._process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """End it and whatever it has started, by force after half a minute."""
        self.request_stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_LIMIT_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


class Backoff:
    """How long to wait before a process that died is started again: longer each time, short after a steady life."""

    def __init__(self) -> None:
        self._wait_s = _BACKOFF_MIN_S

    def next_wait_s(self, *, lived_s: float) -> float:
        """Return the wait after a life of `lived_s`."""
        if lived_s >= _STEADY_AFTER_S:
            self._wait_s = _BACKOFF_MIN_S
        wait_s = self._wait_s
        self._wait_s = min(_BACKOFF_MAX_S, wait_s * 2)
        return wait_s
