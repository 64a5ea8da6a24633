"""The product's worker, which kills itself once at a point of a backup that `KILL_POINT` names."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from k9ops.actors import broker
from k9ops.backups import archives, create, drive_jobs, jobs, restoring, verify
from k9ops.broker import conclude
from k9ops.ledger.execution import current_run

__all__ = ["POINTS", "broker"]


def kill_once() -> None:
    try:
        Path(os.environ["KILL_MARK"]).touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def before(module: Any, name: str, *, job: str | None = None) -> Callable[[], None]:
    return lambda: _wrap(module, name, job, is_after=False)


def after(module: Any, name: str, *, job: str | None = None) -> Callable[[], None]:
    return lambda: _wrap(module, name, job, is_after=True)


def _wrap(module: Any, name: str, job: str | None, *, is_after: bool) -> None:
    original = getattr(module, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        run = current_run()
        is_here = job is None or (run is not None and run.claim.run.job == job)
        if is_here and not is_after:
            kill_once()
        result = original(*args, **kwargs)
        if is_here and is_after:
            kill_once()
        return result

    setattr(module, name, wrapped)


def _in_the_middle_of_the_restore() -> None:
    original = restoring.read_for_restore

    def wrapped(*args: Any, **kwargs: Any) -> Iterator[bytes]:
        for position, chunk in enumerate(original(*args, **kwargs)):
            yield chunk
            if position == 1:
                kill_once()

    restoring.read_for_restore = wrapped  # type: ignore[assignment]


POINTS: dict[str, Callable[[], None]] = {
    "before the snapshot": before(create, "open_snapshot"),
    "before pg_dump": before(create, "run_program"),
    "in the middle of the dump": after(archives.ArchiveWriter, "write"),
    "after the last byte": before(archives.ArchiveWriter, "finish"),
    "before the rename": before(create, "_publish"),
    "after the rename": before(create, "write_durably"),
    "after the manifest": after(create, "_publish"),
    "before the backup's outcome": before(conclude, "finish_run", job="create_backup"),
    "after the backup's outcome": after(conclude, "finish_run", job="create_backup"),
    "with an empty scratch database": before(verify, "restore_archive"),
    "in the middle of the restore": _in_the_middle_of_the_restore,
    "after the comparison": after(verify, "compare_rows"),
    "after the verification is stored": after(jobs, "verify_backup"),
    "before the verification's outcome": before(conclude, "finish_run", job="verify_backup"),
    "in the retention": before(drive_jobs, "apply_retention"),
}

if "KILL_POINT" in os.environ:
    POINTS[os.environ["KILL_POINT"]]()
