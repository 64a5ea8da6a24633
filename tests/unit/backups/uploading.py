"""Backups with uploads, made of a folder and a database that is only a few bytes."""

from __future__ import annotations

import hashlib
import os
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pyrage
from tests.unit.backups.making import MOMENT, make_manifest

from k9ops.backups.catalogue import Backup, archive_path, load_backup, make_backup_id, manifest_path
from k9ops.backups.keys import PrivateKeys
from k9ops.backups.manifest import Uploads, encode
from k9ops.backups.uploads_packs import packs_held
from k9ops.backups.uploads_write import store_uploads
from k9ops.outcome import Execution

_ARCHIVE = b"dump"


@dataclass
class Scene:
    """An uploads folder and a backup folder.

    Attributes:
        keys: Encrypt to these; None leaves the sets plain.
    """

    uploads: Path
    backups: Path
    keys: PrivateKeys | None = None
    days: int = field(default=0)

    def put(self, path: str | bytes, content: bytes) -> None:
        target = os.path.join(os.fsencode(self.uploads), os.fsencode(path))  # noqa: PTH118
        os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120
        with open(target, "wb") as file:  # noqa: PTH123
            file.write(content)

    def store(self, backup_id: str, **options: object) -> Uploads:
        keys = self.keys.public_keys if self.keys else ()
        wanted: dict[str, object] = {"recipients": keys, "one_off": (), "execution": Execution()} | options
        return store_uploads(self.uploads, self.backups, backup_id=backup_id, **wanted)  # type: ignore[arg-type]

    def back_up(self, *, backup_id: str | None = None, **options: object) -> Backup:
        self.days += 1
        moment = MOMENT + timedelta(days=self.days)
        backup_id = backup_id or make_backup_id(moment, uuid.UUID(int=self.days))
        with packs_held(self.backups):
            uploads = self.store(backup_id, **options)
            encryption, archive = None, _ARCHIVE
            if self.keys:
                archive = pyrage.encrypt(_ARCHIVE, [identity.to_public() for identity in self.keys.identities])
                facts = {"plain_sha256": "1" * 64, "plain_size_bytes": 4}
                encryption = {"recipients": self.keys.public_keys, **facts}
            manifest = make_manifest(
                manifest_version=2,
                backup_id=backup_id,
                snapshot_at=moment,
                size_bytes=len(archive),
                sha256=hashlib.sha256(archive).hexdigest(),
                uploads=uploads,
                encryption=encryption,
            )
            archive_path(self.backups, backup_id, is_encrypted=bool(self.keys)).write_bytes(archive)
            manifest_path(self.backups, backup_id).write_bytes(encode(manifest))
        return load_backup(self.backups, backup_id)


def make_scene(folder: Path, keys: PrivateKeys | None = None) -> Scene:
    scene = Scene(folder / "uploads", folder / "backups", keys)
    scene.uploads.mkdir()
    scene.backups.mkdir(mode=0o700)
    return scene
