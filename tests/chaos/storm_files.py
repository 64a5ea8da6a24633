"""Backups and reports inside a storm: on a small disk that can be full, and judged by what lies in their folders."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.chaos.storm_servers import StormPostgres

from k9ops.backups.archives import check_digest
from k9ops.backups.catalogue import files_of, list_backups, state_path, sweep
from k9ops.errors import BackupDamaged
from k9ops.outcome import Execution
from k9ops.reports.artefacts import delete_expired, is_whole, list_artefacts

REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("create_backup", "backups", {"only_if_enabled": False}),
    ("create_report", "reports", {"report": "dogs", "format": "pdf"}),
    ("create_report", "reports", {"report": "dogs", "format": "xlsx"}),
    ("expire_reports", "reports", {}),
]

_MOUNT, _UMOUNT = "/usr/bin/mount", "/usr/bin/umount"
_DISK_MB = 96
_BALLAST = "ballast"
_BLOCK = bytes(1024 * 1024)
_FILE_JOBS = "('create_backup', 'verify_backup', 'apply_retention', 'create_report', 'expire_reports')"
_IS_POISON = "(state = 'failed' AND error_class = 'poison')"

_PROMISES = {
    "a backup or report failed for good": f"""
        SELECT id, job, state, error_class, message FROM k9ops.run
        WHERE job IN {_FILE_JOBS} AND state NOT IN ('succeeded', 'skipped') AND NOT {_IS_POISON}""",
    "a backup belongs to two runs": """
        SELECT evidence ->> 'backup_id', count(*) FROM k9ops.run
        WHERE job = 'create_backup' AND state = 'succeeded' GROUP BY 1 HAVING count(*) > 1""",
    "a backup was verified never, or twice": """
        SELECT parent.id, count(child.id) FROM k9ops.run AS parent
        LEFT JOIN k9ops.run AS child ON child.parent_id = parent.id AND child.job = 'verify_backup'
        WHERE parent.job = 'create_backup' AND parent.state = 'succeeded'
        GROUP BY parent.id HAVING count(child.id) <> 1""",
    "a report belongs to two runs": """
        SELECT evidence ->> 'artefact_id', count(*) FROM k9ops.run
        WHERE job = 'create_report' AND state = 'succeeded' GROUP BY 1 HAVING count(*) > 1""",
}


class SmallDisk:
    """A file system of its own where one may be mounted, which needs root; else a folder that is never full.

    Args:
        folder: Where; made.

    Attributes:
        is_small: Whether it can be full.
        backups: A folder on it.
        reports: Likewise.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.is_small = os.geteuid() == 0
        self.backups, self.reports = folder / "backups", folder / "reports"

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """Have it for the time of the block."""
        if not self.is_small:
            yield
            return
        subprocess.run([_MOUNT, "-t", "tmpfs", "-o", f"size={_DISK_MB}m", "none", str(self.folder)], check=True)
        try:
            yield
        finally:
            subprocess.run([_UMOUNT, "--lazy", str(self.folder)], check=True)

    @contextmanager
    def full(self) -> Iterator[None]:
        """Leave no byte on it for the time of the block."""
        ballast = self.folder / _BALLAST
        try:
            if self.is_small:
                with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                    while file.write(_BLOCK) == len(_BLOCK):
                        pass
            yield
        finally:
            ballast.unlink(missing_ok=True)


def find_broken_files(postgres: StormPostgres, backups: Path, reports: Path) -> dict[str, list[Any]]:
    """Return what does not hold for backups and reports, in the ledger and in their folders."""
    found = {name: postgres.ask(query)[:5] for name, query in _PROMISES.items()}
    listing = list_backups(backups)
    made = {
        row[0] for row in postgres.ask("SELECT evidence ->> 'backup_id' FROM k9ops.run WHERE job = 'create_backup'")
    }
    found["a backup in the folder is that of no run"] = [
        item.backup_id for item in listing.backups if item.backup_id not in made
    ]
    found["a backup in the folder is not whole"] = [*map(str, listing.problems), *_find_damaged(listing.backups)]
    known = {
        row[0]
        for row in postgres.ask("SELECT evidence ->> 'artefact_id' FROM k9ops.run WHERE job = 'create_report'")
        if row[0] is not None
    }
    artefacts = list_artefacts(reports)
    found["reports of the ledger and of the folder differ"] = sorted(
        known ^ {artefact.artefact_id for artefact in artefacts}
    )
    found["a report is not whole"] = [item.artefact_id for item in artefacts if not is_whole(reports, item)]
    return {name: rows for name, rows in found.items() if rows}


def find_left_files(backups: Path, reports: Path) -> list[str]:
    """Return files that are neither a backup nor a report, and that the product's own tidying does not remove."""
    sweep(backups)
    delete_expired(reports, now=datetime.now(UTC) + timedelta(days=2))
    kept = list_backups(backups).backups
    wanted = {path.name for item in kept for path in (*files_of(item), state_path(backups, item.backup_id))}
    for artefact in list_artefacts(reports):
        wanted |= {artefact.file_name, f"{artefact.artefact_id}.json"}
    return sorted(path.name for folder in (backups, reports) for path in folder.iterdir() if path.name not in wanted)


def _find_damaged(backups: Any) -> Iterator[str]:
    for backup in backups:
        try:
            check_digest(backup, execution=Execution())
        except BackupDamaged as exc:
            yield f"{backup.backup_id}: {exc.user_message}"
