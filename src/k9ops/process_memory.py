"""How much memory this process has, which thread took it, and limits of it, from /proc (proc(5)) and prlimit(2)."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterable
from pathlib import Path

MB = 1024 * 1024
PAGE_MB = resource.getpagesize() / MB

_SELF = Path("/proc/self")
_MINOR_FAULTS = 7  # the place of `minflt` after the name of the program


def read_resident_mb() -> float:
    """Return how much memory of the machine this process has."""
    pages = int((_SELF / "statm").read_text(encoding="ascii").split()[1])
    return pages * PAGE_MB


def read_faults(threads: Iterable[int]) -> dict[int, int]:
    """Return how often each thread of this process was the first to touch a page; those that have ended are left out.

    Whoever touches a page first makes the process grow, so this tells who does.

    Args:
        threads: As of `threading.get_native_id`.
    """
    faults = {}
    for thread in threads:
        with contextlib.suppress(OSError):
            text = (_SELF / "task" / str(thread) / "stat").read_text(encoding="utf-8", errors="replace")
            faults[thread] = int(text.rpartition(")")[2].split()[_MINOR_FAULTS])
    return faults


def limit_own_data(limit_mb: float) -> None:
    """Refuse this process, and each one that it starts from now on, more than so much data; a lower limit stays.

    What is refused is a `MemoryError` in the thread that asked for it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = int(limit_mb * MB)
    lowest = min(limit for limit in (soft, hard, wanted) if limit != resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_DATA, (lowest, hard))


def limit_address_space(limit_mb: float, *, pid: int = 0) -> None:
    """Limit a process, and each one that it starts, to so much address space instead of what it has inherited.

    Args:
        limit_mb: The limit; not more than the administrator of the machine allows.
        pid: The process, 0 for this one; one that has ended is left alone.
    """
    with contextlib.suppress(ProcessLookupError):
        _, most_data = resource.prlimit(pid, resource.RLIMIT_DATA)
        resource.prlimit(pid, resource.RLIMIT_DATA, (most_data, most_data))
        _, most = resource.prlimit(pid, resource.RLIMIT_AS)
        limit = int(limit_mb * MB)
        if most != resource.RLIM_INFINITY:
            limit = min(limit, most)
        resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))
