"""The archive file: compressed, encrypted and hashed in one pass; read back, and told to be unchanged."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import zstandard

from k9ops.backups.catalogue import Backup
from k9ops.backups.encryption import Encryptor, check_opens, decrypt
from k9ops.backups.keys import PrivateKeys
from k9ops.backups.manifest import Compression
from k9ops.backups.programs import CHUNK_BYTES
from k9ops.durable import disk_errors
from k9ops.errors import BackupDamaged, KeyUnsuitable
from k9ops.outcome import Execution

_ZSTD_LEVEL = 3
_ZSTD_THREADS = 2
# What each thread works on at a time; the default of 8 MB costs 50 MB of memory and saves nothing here.
_ZSTD_JOB_BYTES = 2 << 20


class ArchiveWriter:
    """Takes what pg_dump writes, compresses it where pg_dump could not, encrypts it, and hashes what reaches the file.

    Use it in `contextlib.closing`: the encryption has a thread.

    Args:
        file: Takes the archive.
        compression: `zstd-stream` compresses here.
        recipients: Public keys to encrypt to; none leaves the archive plain.
        threads: To compress with; each takes some 20 MB, 0 less.

    Attributes:
        size_bytes: Written to the file so far.
        received_bytes: Taken so far.
        plain_size_bytes: Size of the archive before encryption so far.
    """

    def __init__(
        self,
        file: BinaryIO,
        compression: Compression,
        recipients: Sequence[str] = (),
        *,
        threads: int = _ZSTD_THREADS,
    ) -> None:
        self.size_bytes = 0
        self.received_bytes = 0
        self.plain_size_bytes = 0
        self._file = file
        self._digest = hashlib.sha256()
        self._plain_digest = hashlib.sha256()
        self._compressor = _new_compressor(threads) if compression == "zstd-stream" else None
        self._encryptor = Encryptor(recipients, self._store) if recipients else None

    @property
    def plain_sha256(self) -> str:
        """Digest of the archive before encryption so far; of an archive that stays plain, of nothing."""
        return self._plain_digest.hexdigest()

    def write(self, chunk: bytes | memoryview) -> None:
        """Take the next bytes."""
        self.received_bytes += len(chunk)
        self._pass_on(chunk if self._compressor is None else self._compressor.compress(chunk))

    def finish(self) -> str:
        """Make the file durable and return its SHA-256, hexadecimal."""
        if self._compressor is not None:
            self._pass_on(self._compressor.flush())
        if self._encryptor is not None:
            self._encryptor.finish()
        with disk_errors():
            self._file.flush()
            os.fsync(self._file.fileno())
        return self._digest.hexdigest()

    def close(self) -> None:
        """End the thread of the encryption; the file stays open."""
        if self._encryptor is not None:
            self._encryptor.close()

    def _pass_on(self, data: bytes | memoryview) -> None:
        self.plain_size_bytes += len(data)
        if self._encryptor is None:
            self._store(data)
        else:
            self._plain_digest.update(data)
            self._encryptor.write(bytes(data))

    def _store(self, data: bytes | memoryview) -> None:
        self._digest.update(data)
        with disk_errors():
            self._file.write(data)
        self.size_bytes += len(data)


def _new_compressor(threads: int) -> zstandard.ZstdCompressionObj:
    job_size = _ZSTD_JOB_BYTES if threads else 0
    parameters = zstandard.ZstdCompressionParameters.from_level(
        _ZSTD_LEVEL, threads=threads, job_size=job_size, write_checksum=True
    )
    return zstandard.ZstdCompressor(compression_params=parameters).compressobj()


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


def check_key(backup: Backup, keys: PrivateKeys | None) -> None:
    """Tell whether an archive can be opened, before anything is done with it.

    Raises:
        KeyUnsuitable: It is encrypted, and there is no key.
        BackupDamaged: It is not encrypted as its manifest says.
    """
    encryption = backup.manifest.encryption
    if encryption is None:
        return
    if keys is None:
        raise KeyUnsuitable(f"The backup is encrypted to {', '.join(encryption.recipients)}: give a private key.")
    try:
        check_opens(_read_chunks(backup.archive_path), keys)
    except KeyUnsuitable as exc:
        message = "It is encrypted to another key than its manifest says."
        raise BackupDamaged(message, public_keys=keys.public_keys) from exc


def read_for_restore(backup: Backup, *, keys: PrivateKeys | None = None) -> Generator[bytes]:
    """Yield what pg_restore reads.

    Close it when it is not read to its end.

    Raises:
        BackupDamaged: The file cannot be read, decrypted or decompressed.
        KeyUnsuitable: It is encrypted, and no key opens it.
    """
    chunks: Iterable[bytes] = _read_chunks(backup.archive_path)
    with contextlib.ExitStack() as stack:
        if backup.manifest.encryption is not None:
            if keys is None:
                raise KeyUnsuitable("The backup is encrypted: give a private key.")
            chunks = stack.enter_context(contextlib.closing(decrypt(chunks, keys)))
            chunks = _check_plain_digest(backup, chunks)
        if backup.manifest.compression == "zstd-stream":
            chunks = decompress(chunks)
        for data in chunks:
            for start in range(0, len(data), CHUNK_BYTES):
                yield data[start : start + CHUNK_BYTES]


def read_payload(path: Path, keys: PrivateKeys | None) -> Generator[bytes]:
    """Yield the content of a compressed file of a backup; of an encrypted one with its keys.

    Close it when it is not read to its end.

    Raises:
        BackupDamaged: The file cannot be read, decrypted or decompressed.
        KeyUnsuitable: No key opens it.
    """
    chunks: Iterable[bytes] = _read_chunks(path)
    with contextlib.ExitStack() as stack:
        if keys is not None:
            chunks = stack.enter_context(contextlib.closing(decrypt(chunks, keys)))
        yield from decompress(chunks)


def decompress(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of one zstd stream.

    Raises:
        BackupDamaged: It is none.
    """
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    for chunk in chunks:
        try:
            data = decompressor.decompress(chunk)
        except zstandard.ZstdError as exc:
            raise BackupDamaged("The archive cannot be decompressed.", error=str(exc)) from exc
        yield data


def _check_plain_digest(backup: Backup, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """What was decrypted must be what was encrypted, as the age header alone proves no author."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        yield chunk
    encryption = backup.manifest.encryption
    if encryption is not None and digest.hexdigest() != encryption.plain_sha256:
        raise BackupDamaged("The decrypted archive's SHA-256 is not the one that was encrypted.")


def _read_chunks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except OSError as exc:
        raise BackupDamaged("The archive cannot be read.", error=str(exc)) from exc
