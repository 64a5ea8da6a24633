"""The archive file: what is hashed is what is written, a full disk is told, and damage is told apart."""

from __future__ import annotations

import hashlib
import os
from contextlib import closing
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.backups.making import make_manifest

from k9ops.backups.archives import ArchiveWriter, check_digest, check_key, read_for_restore
from k9ops.backups.catalogue import Backup, archive_path
from k9ops.backups.keys import make_one_off_key
from k9ops.backups.manifest import BackupState, Compression, Encryption
from k9ops.backups.programs import CHUNK_BYTES
from k9ops.errors import BackupDamaged, DiskFull, RunInterrupted
from k9ops.outcome import Execution

KEYS = make_one_off_key()


def write(
    folder: Path, content: bytes, compression: Compression = "zstd-stream", recipients: tuple[str, ...] = ()
) -> Backup:
    manifest = make_manifest(compression=compression)
    path = archive_path(folder, manifest.backup_id, is_encrypted=bool(recipients))
    with path.open("wb") as file, closing(ArchiveWriter(file, compression, recipients)) as writer:
        for start in range(0, len(content), 1000):
            writer.write(memoryview(content)[start : start + 1000])
        sha256 = writer.finish()
        manifest = manifest.model_copy(update={"sha256": sha256, "size_bytes": writer.size_bytes})
        assert writer.received_bytes == len(content)
        if recipients:
            encryption = Encryption(
                recipients=recipients,
                plain_sha256=writer.plain_sha256,
                plain_size_bytes=writer.plain_size_bytes,
            )
            manifest = manifest.model_copy(update={"manifest_version": 2, "encryption": encryption})
    return Backup(folder, manifest, BackupState())


@pytest.mark.parametrize("recipients", [(), KEYS.public_keys], ids=["plain", "encrypted"])
@pytest.mark.parametrize("compression", ["zstd", "zstd-stream"])
@given(content=st.binary(max_size=5000))
def test_archive_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, compression: Compression, recipients: tuple[str, ...]
) -> None:
    backup = write(tmp_path_factory.mktemp("archive"), content, compression, recipients)
    check_digest(backup, execution=Execution())
    check_key(backup, KEYS)
    assert hashlib.sha256(backup.archive_path.read_bytes()).hexdigest() == backup.manifest.sha256
    assert b"".join(read_for_restore(backup, keys=KEYS)) == content


def test_archive_writer_compresses_with_a_checksum_of_the_content(tmp_path: Path) -> None:
    backup = write(tmp_path, b"Rex" * 100_000)
    assert backup.size_bytes < 3000
    assert zstandard.get_frame_parameters(backup.archive_path.read_bytes()).has_checksum


def test_archive_writer_tells_when_the_disk_is_full() -> None:
    with pytest.raises(DiskFull, match="disk is full"), Path("/dev/full").open("wb", 0) as file:
        ArchiveWriter(file, "zstd").write(memoryview(bytes(10)))
    with Path("/dev/full").open("wb", 0) as file, closing(ArchiveWriter(file, "zstd", KEYS.public_keys)) as writer:
        writer.write(memoryview(bytes(10)))
        with pytest.raises(DiskFull, match="disk is full"):
            writer.finish()


@pytest.mark.parametrize("recipients", [(), KEYS.public_keys], ids=["plain", "encrypted"])
def test_read_for_restore_yields_no_giant(tmp_path: Path, recipients: tuple[str, ...]) -> None:
    content = os.urandom(3 * CHUNK_BYTES) + bytes(5 * CHUNK_BYTES)
    backup = write(tmp_path, content, recipients=recipients)
    chunks = list(read_for_restore(backup, keys=KEYS))
    assert b"".join(chunks) == content
    assert max(map(len, chunks)) <= CHUNK_BYTES


def test_read_for_restore_calls_a_broken_frame_damage(tmp_path: Path) -> None:
    backup = write(tmp_path, os.urandom(10_000))
    content = bytearray(backup.archive_path.read_bytes())
    content[5000] ^= 1
    backup.archive_path.write_bytes(content)
    with pytest.raises(BackupDamaged, match="cannot be decompressed"):
        list(read_for_restore(backup))


def test_read_for_restore_notices_an_archive_that_somebody_else_encrypted(tmp_path: Path) -> None:
    """Everybody has the public keys: that a file opens does not say who wrote it."""
    backup, other = write(tmp_path, b"dump", "zstd", KEYS.public_keys), tmp_path / "other"
    other.mkdir()
    forged = write(other, b"DROP", "zstd", KEYS.public_keys)
    backup.archive_path.write_bytes(forged.archive_path.read_bytes())
    with pytest.raises(BackupDamaged, match="not the one that was encrypted"):
        list(read_for_restore(backup, keys=KEYS))


@given(position=st.integers(0, 4999), bit=st.integers(0, 7))
def test_check_digest_notices_any_flipped_bit(
    tmp_path_factory: pytest.TempPathFactory, position: int, bit: int
) -> None:
    backup = write(tmp_path_factory.mktemp("archive"), bytes(5000), "zstd")
    content = bytearray(backup.archive_path.read_bytes())
    content[position] ^= 1 << bit
    backup.archive_path.write_bytes(content)
    with pytest.raises(BackupDamaged, match="SHA-256"):
        check_digest(backup, execution=Execution())


def test_check_digest_notices_a_missing_or_unreadable_archive(tmp_path: Path) -> None:
    backup = write(tmp_path, b"dump")
    backup.archive_path.unlink()
    with pytest.raises(BackupDamaged, match="cannot be read"):
        check_digest(backup, execution=Execution())
    backup.archive_path.mkdir()
    with pytest.raises(BackupDamaged, match="cannot be read"):
        check_digest(backup, execution=Execution())


def test_check_digest_stops_when_the_run_must(tmp_path: Path) -> None:
    def stop() -> None:
        raise RunInterrupted("The worker shuts down.", reason="shutdown")

    with pytest.raises(RunInterrupted):
        check_digest(write(tmp_path, b"dump"), execution=Execution(check_stop=stop))
