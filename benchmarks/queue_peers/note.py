"""What every job of the comparison does: one write of when it was sent and when it started."""

from __future__ import annotations

import os
import struct
import time

RECORD = struct.Struct("dd")


def note_start(sent_s: float) -> None:
    """Append one record; `O_APPEND` keeps those of several processes whole."""
    global _file
    if _file is None:
        _file = os.open(os.environ["BENCH_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(_file, RECORD.pack(sent_s, time.monotonic()))


_file: int | None = None
