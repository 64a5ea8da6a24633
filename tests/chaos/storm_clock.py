"""A clock of one worker's own, which may jump while the worker runs: libfaketime, where the machine has it."""

from __future__ import annotations

from pathlib import Path

_LIBRARIES = "*/faketime/libfaketimeMT.so.1"


class WorkerClock:
    """The time of day of a worker and of all that it starts; its monotonic clock stays the machine's.

    Args:
        path: A file that says how far the clock is ahead; written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._library = next(Path("/usr/lib").glob(_LIBRARIES), None)
        self.jump(0)

    @property
    def can_jump(self) -> bool:
        """Whether libfaketime is installed."""
        return self._library is not None

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a process that has this clock."""
        if self._library is None:
            return {}
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._path),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def jump(self, ahead_s: float) -> None:
        """Let the clock be so far ahead of the machine's, or behind it."""
        temporary = self._path.with_suffix(".new")
        temporary.write_text(f"{ahead_s:+.0f}\n", encoding="ascii")
        temporary.rename(self._path)
