"""Which processes this one has started, from /proc (proc(5))."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessId:
    """A process; the start time tells it from a later one with the same number.

    Attributes:
        pid: Its number.
        started: Clock ticks since the machine started.
        name: Of its program.
    """

    pid: int
    started: int
    name: str


def find_descendants(pid: int | None = None) -> set[ProcessId]:
    """Return all processes below one, by default this one, that still run."""
    root = os.getpid() if pid is None else pid
    children: dict[int, list[ProcessId]] = {}
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            found = _read(int(folder.name))
            if found is not None:
                parent, process = found
                children.setdefault(parent, []).append(process)
    descendants: set[ProcessId] = set()
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        descendants.update(below)
        waiting += [process.pid for process in below]
    return descendants


def still_running(processes: set[ProcessId]) -> set[ProcessId]:
    """Return those that have not ended."""
    running = set()
    for process in processes:
        found = _read(process.pid)
        if found is not None and found[1].started == process.started:
            running.add(process)
    return running


def _read(pid: int) -> tuple[int, ProcessId] | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    name, _, rest = text.partition("(")[2].rpartition(")")
    fields = rest.split()
    if fields[0] in ("Z", "X"):
        return None
    return int(fields[1]), ProcessId(pid, int(fields[19]), name)
