"""Packs of uploads: which contents earlier sets have stored, and which packs nobody refers to any more."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from k9ops.backups.catalogue import (
    DIGEST_BYTES,
    Backup,
    contents_path,
    is_backup_id,
    list_backups,
    pack_path,
    read_state,
)
from k9ops.backups.manifest import Manifest, Pack
from k9ops.backups.programs import CHUNK_BYTES
from k9ops.config.logging import get_logger
from k9ops.durable import FILE_MODE
from k9ops.outcome import Execution

_LOCK_NAME = ".uploads.lock"
_SUFFIXES = (".files.tar.zst", ".files.tar.zst.age", ".files.sha256", ".files.jsonl.zst", ".files.jsonl.zst.age")

# A set refers to no more packs than this: the smallest are written anew, so that a restore reads few files.
_PACKS_AT_MOST = 48

log = get_logger("k9ops.backups")


@dataclass
class KnownContents:
    """Contents that a new set need not store.

    Attributes:
        packs: By the id of the set that wrote each.
        pack_of: The pack of each digest.
    """

    packs: dict[str, Pack] = field(default_factory=dict)
    pack_of: dict[bytes, str] = field(default_factory=dict)


@contextlib.contextmanager
def packs_held(folder: Path) -> Iterator[None]:
    """Keep every pack of a folder for the time of the block, in which a new set refers to some of them."""
    with _open_lock(folder) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield


def find_known_contents(
    folder: Path, recipients: Sequence[str], *, without: str, execution: Execution
) -> KnownContents:
    """Find what the newest usable set has stored, for recipients that are the same: who opens one must open all.

    A pack is relied on when it has its size and its list of contents is unchanged; unless the set is verified, when
    its own digest is right, too.

    Args:
        folder: The backup folder.
        recipients: Of the new set.
        without: Id of the new set: what an earlier attempt at it left is damaged, and written anew.
        execution: Asked whether to stop.
    """
    known = KnownContents()
    for backup in list_backups(folder).backups:
        manifest = backup.manifest
        if not manifest.uploads or not manifest.uploads.packs or not _has_recipients(manifest, recipients):
            continue
        packs = sorted(manifest.uploads.packs, key=lambda pack: pack.size_bytes, reverse=True)
        for pack in packs[: _PACKS_AT_MOST - 1]:
            if pack.backup_id == without:
                continue
            digests = _read_contents(folder, pack)
            if digests is not None and _is_sound(backup, pack, execution):
                known.packs[pack.backup_id] = pack
                known.pack_of.update((digest, pack.backup_id) for digest in digests)
        return known
    return known


def remove_unreferenced_packs(folder: Path) -> int:
    """Remove the packs and indexes that no backup refers to; not while a set is being made, nor on a doubt.

    Returns:
        Bytes freed.
    """
    if not _find_candidates(folder):
        return 0
    with _open_lock(folder) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        referenced = _find_referenced(folder)
        if referenced is None:
            return 0
        freed_bytes = 0
        for path, backup_id in _find_candidates(folder):
            if backup_id not in referenced:
                size_bytes = path.stat().st_size
                path.unlink()
                freed_bytes += size_bytes
                log.info("pack.deleted", file=path.name, size_bytes=size_bytes, place="folder")
        return freed_bytes


def _find_candidates(folder: Path) -> list[tuple[Path, str]]:
    if not folder.is_dir():
        return []
    parts = [(path, *path.name.partition(".")) for path in sorted(folder.iterdir())]
    return [(path, stem) for path, stem, dot, rest in parts if is_backup_id(stem) and dot + rest in _SUFFIXES]


def _packs_of(backup: Backup) -> tuple[Pack, ...]:
    return backup.manifest.uploads.packs if backup.manifest.uploads else ()


def _find_referenced(folder: Path) -> set[str] | None:
    """Return the ids whose packs must stay; None when a manifest cannot be read and might refer to any."""
    listing = list_backups(folder)
    readable = {backup.backup_id for backup in listing.backups}
    referenced = set(readable)
    referenced.update(pack.backup_id for backup in listing.backups for pack in _packs_of(backup))
    for path in folder.glob("*.json"):
        backup_id = path.name.removesuffix(".json")
        if is_backup_id(backup_id) and backup_id not in readable:
            state, _ = read_state(folder, backup_id)
            if state.deletion_reason is None:
                return None
    return referenced


def _has_recipients(manifest: Manifest, recipients: Sequence[str]) -> bool:
    found = manifest.encryption.recipients if manifest.encryption else ()
    return set(found) == set(recipients)


def _read_contents(folder: Path, pack: Pack) -> list[bytes] | None:
    try:
        content = contents_path(folder, pack.backup_id).read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest() != pack.contents_sha256:
        return None
    return [content[start : start + DIGEST_BYTES] for start in range(0, len(content), DIGEST_BYTES)]


def _is_sound(backup: Backup, pack: Pack, execution: Execution) -> bool:
    path = pack_path(backup.folder, pack.backup_id, is_encrypted=backup.is_encrypted)
    try:
        if path.stat().st_size != pack.size_bytes:
            return False
        return backup.verification_state == "verified" or hash_file(path, execution=execution) == pack.sha256
    except OSError:
        return False


def hash_file(path: Path, *, execution: Execution) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK_BYTES):
            execution.check_stop()
            digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def _open_lock(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
