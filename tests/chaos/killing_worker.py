"""The product's worker, which kills itself once at a point of a backup that `KILL_POINT` names."""

from __future__ import annotations

import os
from collections.abc import Callable

from tests.chaos.killing import after, at_call, before

from k9ops.actors import broker
from k9ops.backups import archives, contents, create, drive_jobs, jobs, verify
from k9ops.broker import conclude
from k9ops.ledger.execution import current_run

__all__ = ["POINTS", "broker"]


def in_job(job: str) -> Callable[[], bool]:
    """Return a condition that holds in runs of a job only."""

    def is_here() -> bool:
        run = current_run()
        return run is not None and run.claim.run.job == job

    return is_here


POINTS: dict[str, Callable[[], None]] = {
    "before the snapshot": before(create, "open_snapshot"),
    "before pg_dump": before(create, "run_program"),
    "in the middle of the dump": after(archives.ArchiveWriter, "write"),
    "after the last byte": before(archives.ArchiveWriter, "finish"),
    "before the rename": before(create, "_publish"),
    "after the rename": before(create, "write_durably"),
    "after the manifest": after(create, "_publish"),
    "before the backup's outcome": before(conclude, "finish_run", is_here=in_job("create_backup")),
    "after the backup's outcome": after(conclude, "finish_run", is_here=in_job("create_backup")),
    "with an empty scratch database": before(verify, "restore_archive"),
    "in the middle of the restore": after(contents.ObjectCounter, "hear", is_here=at_call(40)),
    "after the comparison": after(verify, "compare_rows"),
    "after the verification is stored": after(jobs, "verify_backup"),
    "before the verification's outcome": before(conclude, "finish_run", is_here=in_job("verify_backup")),
    "in the retention": before(drive_jobs, "apply_retention"),
}

if "KILL_POINT" in os.environ:
    POINTS[os.environ["KILL_POINT"]]()
