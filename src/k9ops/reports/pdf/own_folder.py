"""A folder for temporary files for each rendering process: killed, WeasyPrint leaves its fonts there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "k9ops-renderer-"


class OwnFolder:
    """A folder that is locked as long as a process has its descriptor, so that nobody takes it for abandoned.

    Attributes:
        path: The folder.
        descriptor: To be inherited by whoever uses it.
    """

    def __init__(self) -> None:
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
            # Another process may have found it before the lock, and removed it.
            with contextlib.suppress(OSError):
                self.descriptor = _lock(self.path)
                if self.path.exists():
                    return
                os.close(self.descriptor)

    def remove(self) -> None:
        """Remove it, once nobody uses it any more."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.descriptor)


def remove_abandoned_folders() -> int:
    """Remove the folders of rendering processes that were killed together with their parents, and return how many."""
    removed = 0
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # in use, another user's, or gone by now
            descriptor = _lock(path)
            shutil.rmtree(path, ignore_errors=True)
            removed += 1
            os.close(descriptor)
    return removed


def _lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
