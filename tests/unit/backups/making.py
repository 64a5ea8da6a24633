"""Backups made of thin air, for rules that only read their manifest and state."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path

from k9ops.backups.catalogue import Backup, make_backup_id
from k9ops.backups.manifest import BackupState, DatabaseShape, Manifest, Verification, VerificationState, fingerprint

MOMENT = datetime(2026, 3, 1, 2, tzinfo=UTC)


def make_manifest(**changes: object) -> Manifest:
    values: dict[str, object] = {
        "manifest_version": 1,
        "backup_id": "20260301T020000Z-0000002a",
        "database": "k9",
        "shape": DatabaseShape(encoding="UTF8", collate="C.UTF-8", ctype="C.UTF-8", locale_provider="libc"),
        "server_version": "15.18",
        "client_version": "16.4",
        "snapshot_at": MOMENT,
        "started_at": MOMENT,
        "finished_at": MOMENT,
        "size_bytes": 4,
        "sha256": "0" * 64,
        "compression": "zstd",
        "tables": {"public.user": 3, "public.الكلاب": 2},
        "schema_revision": {"public": "abc"},
        "owners": ("k9",),
        "grantees": (),
        "k9ops_version": "0.1.0",
    }
    return Manifest.model_validate(values | changes)


def make_backup(
    created_at: datetime,
    *,
    number: int = 42,
    state: VerificationState = "verified",
    pinned: bool = False,
    folder: Path = Path("/nowhere"),
) -> Backup:
    manifest = make_manifest(backup_id=make_backup_id(created_at, uuid.UUID(int=number)), snapshot_at=created_at)
    stored = BackupState(
        verification=Verification(state=state, manifest_sha256=fingerprint(manifest)),
        pinned_at=created_at if pinned else None,
    )
    return Backup(folder, manifest, stored)
