"""The archive file: writing it with its digest, reading it back, and telling that it is unchanged."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import zstandard

from k9ops.backups.catalogue import Backup
from k9ops.backups.manifest import Compression
from k9ops.backups.programs import CHUNK_BYTES
from k9ops.durable import disk_errors
from k9ops.errors import BackupDamaged
from k9ops.outcome import Execution

_ZSTD_LEVEL = 3
_ZSTD_THREADS = 2
# What each thread works on at a time; the default of 8 MB costs 50 MB of memory and saves nothing here.
_ZSTD_JOB_BYTES = 2 << 20


class ArchiveWriter:
    """Takes what pg_dump writes, compresses it where pg_dump could not, and hashes what reaches the file.

    Attributes:
        size_bytes: Written to the file so far.
        received_bytes: Taken so far.
    """

    def __init__(self, file: BinaryIO, compression: Compression) -> None:
        self.size_bytes = 0
        self.received_bytes = 0
        self._file = file
        self._digest = hashlib.sha256()
        self._compressor = None
        if compression == "zstd-stream":
            parameters = zstandard.ZstdCompressionParameters.from_level(
                _ZSTD_LEVEL, threads=_ZSTD_THREADS, job_size=_ZSTD_JOB_BYTES, write_checksum=True
            )
            self._compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()

    def write(self, chunk: memoryview) -> None:
        """Take the next bytes."""
        self.received_bytes += len(chunk)
        self._store(chunk if self._compressor is None else self._compressor.compress(chunk))

    def finish(self) -> str:
        """Make the file durable and return its SHA-256, hexadecimal."""
        if self._compressor is not None:
            self._store(self._compressor.flush())
        with disk_errors():
            self._file.flush()
            os.fsync(self._file.fileno())
        return self._digest.hexdigest()

    def _store(self, data: bytes | memoryview) -> None:
        self._digest.update(data)
        with disk_errors():
            self._file.write(data)
        self.size_bytes += len(data)


def check_digest(backup: Backup, *, execution: Execution) -> None:
    """Read the whole archive and compare its size and SHA-256 with the manifest.

    Raises:
        BackupDamaged: They differ, or the file cannot be read.
    """
    digest = hashlib.sha256()
    size_bytes = 0
    for chunk in _read_chunks(backup.archive_path):
        execution.check_stop()
        digest.update(chunk)
        size_bytes += len(chunk)
    if size_bytes != backup.manifest.size_bytes:
        raise BackupDamaged(
            f"The archive has {size_bytes} bytes; {backup.manifest.size_bytes} were written.",
            backup_id=backup.backup_id,
        )
    if digest.hexdigest() != backup.manifest.sha256:
        raise BackupDamaged(
            "The archive's SHA-256 is not the one that was written.",
            backup_id=backup.backup_id,
            found=digest.hexdigest(),
        )


def read_for_restore(backup: Backup, *, report_bytes: Callable[[int], None]) -> Iterator[bytes]:
    """Yield what pg_restore reads, and report how much of the file is used up.

    Raises:
        BackupDamaged: The file cannot be read or decompressed.
    """
    decompressor = None
    if backup.manifest.compression == "zstd-stream":
        decompressor = zstandard.ZstdDecompressor().decompressobj()
    read_bytes = 0
    for chunk in _read_chunks(backup.archive_path):
        try:
            data = chunk if decompressor is None else decompressor.decompress(chunk)
        except zstandard.ZstdError as exc:
            raise BackupDamaged("The archive cannot be decompressed.", error=str(exc)) from exc
        for start in range(0, len(data), CHUNK_BYTES):
            yield data[start : start + CHUNK_BYTES]
        read_bytes += len(chunk)
        report_bytes(read_bytes)


def _read_chunks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except OSError as exc:
        raise BackupDamaged("The archive cannot be read.", error=str(exc)) from exc
