"""The heads of the audit chain that the manifests of backups have noted."""

from __future__ import annotations

from pathlib import Path

from k9ops.backups.catalogue import list_backups
from k9ops.db.audit_chain import Anchor


def list_anchors(folder: Path) -> list[Anchor]:
    """Return where the chain stood at the moment of each backup in the folder that says so."""
    return [
        Anchor(audit.chain_id, audit.last_id, audit.hash, f"backup {backup.backup_id}")
        for backup in list_backups(folder).backups
        if (audit := backup.manifest.audit) is not None
    ]
