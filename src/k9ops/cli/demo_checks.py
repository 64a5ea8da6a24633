"""What a demo must have shown, looked at again without the code that claims it."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from k9ops.config.settings import Settings
from k9ops.ledger.model import Run
from k9ops.process_tree import ProcessId, still_running

SCHEDULED_JOBS = ("lock_schedules", "clean_notifications")

_EXPECTED = {
    "canary": {"succeeded"},
    "lock_schedules": {"succeeded"},
    "clean_notifications": {"succeeded"},
    "create_backup": {"succeeded"},
    "verify_backup": {"succeeded"},
    "apply_retention": {"succeeded", "skipped"},
}


_SCHEDULES = """
    SELECT
        (SELECT count(*) FROM public.daily_schedule
         WHERE status = 'OPEN' AND date < CAST(CAST(:locked_at AS timestamptz) AT TIME ZONE :zone AS date)) AS open,
        (SELECT count(*) FROM k9ops.audit_event AS event JOIN public.daily_schedule AS schedule
             ON event.target_id = schedule.id::text
         WHERE event.action = 'lock' AND schedule.status = 'LOCKED') AS audited,
        (SELECT (evidence ->> 'locked')::integer FROM k9ops.run WHERE job = 'lock_schedules') AS told
"""

_NOTIFICATIONS = """
    SELECT count(*) FILTER (WHERE read) AS old_read, count(*) FILTER (WHERE read IS NOT TRUE) AS old_unread
    FROM public.notification
    WHERE created_at < CAST(:cleaned_at AS timestamptz) AT TIME ZONE 'UTC' - make_interval(days => :days)
"""


@dataclass(frozen=True)
class DemoCheck:
    """One thing that must be so.

    Attributes:
        name: What.
        is_ok: Whether it is so.
        detail: What was found.
    """

    name: str
    is_ok: bool
    detail: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def check_demo(engine: Engine, settings: Settings, runs: Sequence[Run]) -> list[DemoCheck]:
    """Check ledger, archive, manifest, verification and database of a demo, while its servers still run."""
    checks = [_check_ledger(engine, runs)]
    backup_id = next((run.evidence["backup_id"] for run in runs if run.job == "create_backup" and run.evidence), None)
    if backup_id is None:
        return [*checks, DemoCheck("archive", False, "No run has made a backup.")]
    archive = settings.backup_dir / f"{backup_id}.dump"
    try:
        manifest = json.loads(archive.with_suffix(".json").read_bytes())
        state = json.loads(archive.with_suffix(".state.json").read_bytes())
        checks.append(check_archive(archive, manifest, claimed_digests=_claimed_digests(runs)))
        checks.append(check_verification(manifest, state))
    except (OSError, KeyError, ValueError) as exc:
        return [*checks, DemoCheck("files", False, f"{type(exc).__name__}: {exc}")]
    return [*checks, *_check_database(engine, manifest)]


def check_timetable(engine: Engine, settings: Settings) -> Iterator[DemoCheck]:
    """Check that two schedulers made one run of each schedule's latest slot, and that its work is done."""
    with engine.connect() as connection:
        slots = connection.execute(
            text(
                "SELECT job, count(*) AS runs, max(slot) AS slot FROM k9ops.run WHERE trigger = 'schedule' GROUP BY job"
            )
        ).all()
        rows = connection.execute(
            text("SELECT name, missed FROM k9ops.schedule WHERE name = ANY(:jobs)"), {"jobs": list(SCHEDULED_JOBS)}
        )
        missed: dict[str, int] = {row.name: row.missed for row in rows}
        found = {row.job: row for row in slots}
        is_single = set(found) == set(SCHEDULED_JOBS) and all(row.runs == 1 for row in slots)
        told = ", ".join(f"{row.job} {row.runs}" for row in slots) or "none"
        yield DemoCheck("slots", is_single, f"runs recorded by two schedulers: {told}")
        if not is_single:
            return
        told = ", ".join(f"{name} {count}" for name, count in missed.items())
        yield DemoCheck("catch-up", missed.get("lock_schedules", 0) >= 6, f"older slots passed over: {told}")
        values = {
            "locked_at": found["lock_schedules"].slot,
            "cleaned_at": found["clean_notifications"].slot,
            "zone": settings.timezone,
            "days": settings.notification_retention_days,
        }
        schedules = connection.execute(text(_SCHEDULES), values).one()
        notifications = connection.execute(text(_NOTIFICATIONS), values).one()
    yield DemoCheck(
        "schedules",
        schedules.open == 0 and schedules.audited == schedules.told > 0,
        f"{schedules.open} past ones open, {schedules.audited} locked ones audited",
    )
    yield DemoCheck(
        "notifications",
        notifications.old_read == 0 and notifications.old_unread > 0,
        f"{notifications.old_read} old read ones left, {notifications.old_unread} old unread ones kept",
    )


def check_processes(processes: set[ProcessId]) -> DemoCheck:
    """Check that none of these processes runs any more."""
    left = still_running(processes)
    names = ", ".join(f"{process.name} ({process.pid})" for process in left)
    ended = f"all {len(processes)} have ended" if processes else "none was started"
    return DemoCheck("processes", not left, f"still running: {names}" if left else ended)


def _check_ledger(engine: Engine, runs: Sequence[Run]) -> DemoCheck:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT job, state, path, evidence IS NOT NULL FROM k9ops.run")).all()
    found = {job: state for job, state, _, _ in rows}
    wrong = [
        f"{job} is {found.get(job, 'missing')}" for job, states in _EXPECTED.items() if found.get(job) not in states
    ]
    wrong += [f"{job} took the path {path}" for job, _, path, _ in rows if path != "worker"]
    wrong += [f"{job} has no evidence" for job, _, _, has_evidence in rows if not has_evidence]
    if len(rows) != len(_EXPECTED) or len(runs) != len(_EXPECTED):
        wrong.append(f"{len(rows)} runs, not {len(_EXPECTED)}")
    return DemoCheck("ledger", not wrong, "; ".join(wrong) or f"{len(rows)} runs, each by a worker and with evidence")


def check_archive(archive: Path, manifest: dict[str, Any], *, claimed_digests: set[str]) -> DemoCheck:
    """Compare the file with its manifest, and with the digests that the ledger has."""
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    status = archive.stat()
    wrong = []
    if {digest} != claimed_digests | {manifest["sha256"]}:
        claims = ", ".join(sorted(claimed_digests)) or "nothing"
        wrong.append(f"SHA-256 is {digest}; the ledger says {claims}, the manifest {manifest['sha256']}")
    if status.st_size != manifest["size_bytes"]:
        wrong.append(f"{status.st_size} bytes, not {manifest['size_bytes']}")
    if stat.S_IMODE(status.st_mode) != 0o600:
        wrong.append(f"its mode is {stat.S_IMODE(status.st_mode):o}, not 600")
    return DemoCheck("archive", not wrong, "; ".join(wrong) or f"{archive.name} has SHA-256 {digest}")


def _claimed_digests(runs: Sequence[Run]) -> set[str]:
    return {run.evidence["sha256"] for run in runs if run.job in ("create_backup", "verify_backup") and run.evidence}


def check_verification(manifest: dict[str, Any], state: dict[str, Any]) -> DemoCheck:
    """Check that every row of every table of the manifest was compared and found."""
    verification = state["verification"]
    rows = sum(manifest["tables"].values())
    is_ok = (
        verification["state"] == "verified"
        and verification["tables_compared"] == len(manifest["tables"]) > 0
        and verification["rows_compared"] == rows > 0
        and not verification["differences"]
    )
    detail = (
        f"{verification['state']}: {verification['rows_compared']:,} of {rows:,} rows and"
        f" {verification['tables_compared']} of {len(manifest['tables'])} tables compared after restoring"
    )
    return DemoCheck("verification", is_ok, detail)


def _check_database(engine: Engine, manifest: dict[str, Any]) -> Iterator[DemoCheck]:
    tables = {name: rows for name, rows in manifest["tables"].items() if name.startswith("public.")}
    with engine.connect() as connection:
        quote = connection.dialect.identifier_preparer.quote
        counted = {
            name: connection.scalar(text(f"SELECT count(*) FROM {quote('public')}.{quote(name.split('.', 1)[1])}"))
            for name in tables
        }
        status = connection.scalar(text("SELECT last_backup_status FROM public.backup_settings"))
        scratch = connection.scalar(
            text("SELECT count(*) FROM pg_catalog.pg_database WHERE starts_with(datname, 'k9ops_scratch')")
        )
    differing = [name for name, rows in tables.items() if counted[name] != rows]
    detail = f"{sum(counted.values()):,} rows of {len(tables)} tables are as in the manifest"
    wrong = f"counts differ in {', '.join(differing)}" if differing else "the manifest has no table of the application"
    yield DemoCheck("row counts", bool(tables) and not differing, detail if tables and not differing else wrong)
    yield DemoCheck("application", status == "success", f"its last backup is shown as {status}")
    yield DemoCheck("scratch databases", scratch == 0, f"{scratch} left")
