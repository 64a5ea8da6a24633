"""How a backup looks: a row of a list, a page of its own, a document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import RenderableType

from k9ops.backups.catalogue import Backup, BackupListing
from k9ops.backups.manifest import OpenedWith, Uploads, UploadsVerification, Verification
from k9ops.backups.uploads_scan import Entry, show_path
from k9ops.cli.output import (
    format_bytes,
    format_duration,
    format_moment,
    print_fields,
    print_remark,
    print_table,
    print_text,
    style_state,
)

_COMPRESSIONS = {"zstd": "zstd, by pg_dump", "zstd-stream": "zstd, around the archive"}

_KEYS: dict[OpenedWith | None, str] = {
    "private_key": "a private key",
    "one_off_key": "the one-off key of the process that made it",
}


def print_backups(listing: BackupListing, zone: ZoneInfo) -> None:
    """Print all backups of a folder, and what is wrong in it."""
    rows: list[list[RenderableType]] = [
        [
            backup.backup_id,
            format_moment(backup.created_at, zone),
            backup.manifest.database,
            format_bytes(backup.size_bytes),
            f"{backup.manifest.row_count:,}",
            style_state(backup.verification_state),
            (backup.state.pinned_reason or "yes") if backup.is_pinned else "",
        ]
        for backup in listing.backups
    ]
    columns = ("id", f"data of ({zone.key})", "database", ">size", ">rows", "state", "pinned")
    print_table(columns, rows, empty="No backups.")
    for problem in listing.problems:
        print_remark(f"{problem.name}: {problem.reason}")


def print_backup(backup: Backup, zone: ZoneInfo) -> None:
    """Print everything that is known about a backup."""
    manifest = backup.manifest
    print_fields(
        {
            "backup": backup.backup_id,
            "archive": str(backup.archive_path),
            "data of": format_moment(manifest.snapshot_at, zone),
            "took": format_duration((manifest.finished_at - manifest.started_at).total_seconds()),
            "database": manifest.database,
            "server": f"PostgreSQL {manifest.server_version}, pg_dump {manifest.client_version}",
            "size": f"{format_bytes(backup.size_bytes)} ({backup.size_bytes:,} bytes)",
            "compression": _COMPRESSIONS[manifest.compression],
            "encrypted to": "\n".join(manifest.encryption.recipients) if manifest.encryption else None,
            "SHA-256": manifest.sha256,
            "uploads": _describe_uploads(manifest.uploads) if manifest.uploads else None,
            "Google Drive": _describe_copy(backup, zone),
            "revisions": ", ".join(f"{schema} {name}" for schema, name in manifest.schema_revision.items()) or None,
            "pinned": _describe_pin(backup, zone),
        }
    )
    print_verification(backup.state.verification, zone)
    print_text("")
    rows = [[name, f"{count:,}"] for name, count in sorted(manifest.tables.items())]
    total = [["all", f"{manifest.row_count:,}"]] if rows else []
    print_table(("table", ">rows"), [*rows, *total], empty="The database had no tables.")


def print_verification(verification: Verification, zone: ZoneInfo) -> None:
    """Print how a verification ended, and every difference."""
    compared = f"{verification.rows_compared:,} rows of {verification.tables_compared} tables"
    print_fields(
        {
            "verification": style_state(verification.state),
            "verified at": format_moment(verification.at, zone) if verification.at else None,
            "compared": compared if verification.tables_compared else None,
            "files": _describe_found(verification.uploads) if verification.uploads else None,
            "opened with": _KEYS.get(verification.opened_with),
            "verified in": format_duration(verification.duration_s) if verification.duration_s else None,
            "reason": verification.reason,
        }
    )
    if verification.differences:
        rows = [[item.table, _count(item.expected), _count(item.found)] for item in verification.differences]
        print_table(("table", ">in the manifest", ">restored"), rows, empty="")


def print_decisions(evidence: dict[str, Any]) -> None:
    """Print what retention keeps and deletes, each with its reason."""
    verb = "would go" if evidence["dry_run"] else "deleted"
    rows: list[Sequence[RenderableType]] = [
        *([item["backup_id"], verb, item["reason"]] for item in evidence["deleted"]),
        *([item["backup_id"], "kept", item["reason"]] for item in evidence["kept"]),
    ]
    print_table(("backup", "", "reason"), rows, empty="No backups.")
    if evidence["deleted"]:
        print_text(f"{len(evidence['deleted'])} {verb}, {format_bytes(evidence['freed_bytes'])}.")
    drive = evidence.get("drive")
    if drive is not None:
        for item in drive["deleted"]:
            print_text(f"On Google Drive: {item['backup_id']} {verb}: {item['reason']}")
        if drive["problem"]:
            print_remark(f"What is on Google Drive stays for now: {drive['problem']}")


def print_entries(entries: Iterable[Entry]) -> None:
    """Print names of the uploads folder, a line each as they come: there may be very many."""
    for entry in entries:
        size = format_bytes(entry.size_bytes) if entry.sha256 else entry.kind
        print_text(f"{size:>10}  {show_path(entry.path)}{f'  {entry.problem}' if entry.problem else ''}")


def entry_document(entry: Entry) -> dict[str, Any]:
    """Return the JSON form of a name of the uploads folder."""
    return asdict(entry) | {"path": show_path(entry.path), "target": entry.target and show_path(entry.target)}


def backup_document(backup: Backup) -> dict[str, Any]:
    """Return the JSON form of a backup."""
    return {
        "backup_id": backup.backup_id,
        "archive": str(backup.archive_path),
        "manifest": backup.manifest.model_dump(mode="json"),
        "state": backup.state.model_dump(mode="json"),
    }


def _describe_copy(backup: Backup, zone: ZoneInfo) -> str | None:
    copy = backup.state.drive_copy
    return None if copy is None else f"since {format_moment(copy.at, zone)}, {len(copy.files)} files compared"


def _describe_uploads(uploads: Uploads) -> str:
    size, new = format_bytes(uploads.size_bytes), format_bytes(uploads.new_bytes)
    lines = [f"{uploads.files:,} files of {size}, {new} of them new, in {len(uploads.packs)} packs"]
    return "\n".join([*lines, *filter(None, [uploads.problem])])


def _describe_found(found: UploadsVerification) -> str:
    by_digest = f", {found.contents_by_digest:,} in unchanged packs that were not opened"
    return (
        f"all {found.files:,} of {format_bytes(found.size_bytes)}: {found.contents_read:,} contents read"
        f"{by_digest if found.contents_by_digest else ''}"
    )


def _describe_pin(backup: Backup, zone: ZoneInfo) -> str | None:
    if not backup.is_pinned:
        return None
    return f"since {format_moment(backup.state.pinned_at, zone)}: {backup.state.pinned_reason or 'no reason given'}"


def _count(rows: int | None) -> str:
    return "missing" if rows is None else f"{rows:,}"
