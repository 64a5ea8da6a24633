"""Storing the uploads folder with a backup: an index of all names, and a pack of the contents that are new."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from k9ops.backups.archives import ArchiveWriter
from k9ops.backups.catalogue import (
    contents_path,
    index_path,
    list_backups,
    pack_path,
)
from k9ops.backups.manifest import Pack, Uploads
from k9ops.backups.programs import CHUNK_BYTES
from k9ops.backups.tar_stream import write_end, write_header, write_padding
from k9ops.backups.uploads_index import encode_entry
from k9ops.backups.uploads_packs import KnownContents, find_known_contents
from k9ops.backups.uploads_scan import Entry, scan_uploads
from k9ops.config.logging import get_logger
from k9ops.durable import disk_errors, fsync_folder, open_partial, write_durably
from k9ops.errors import K9opsError, RunInterrupted, TransientError
from k9ops.outcome import Execution

_REASONS_AT_MOST = 5

log = get_logger("k9ops.backups")


def store_uploads(
    uploads_dir: Path,
    folder: Path,
    *,
    backup_id: str,
    recipients: Sequence[str],
    one_off: Sequence[str],
    execution: Execution,
) -> Uploads:
    """Write index and pack of a backup into the backup folder, under their final names.

    What goes wrong here becomes the `problem` of the result: the database's archive beside it is worth keeping.
    Call it in `packs_held`, and write the manifest in the same block.

    Args:
        uploads_dir: What to store.
        folder: The backup folder.
        backup_id: The backup.
        recipients: Public keys to encrypt to; none leaves the files plain.
        one_off: Further ones that are for this backup alone.
        execution: Asked whether to stop; told the files that were looked at.
    """
    try:
        return _store(uploads_dir, folder, backup_id, recipients, one_off, execution)
    except RunInterrupted:
        raise
    except (K9opsError, OSError) as exc:
        reason = exc.user_message if isinstance(exc, K9opsError) else f"{exc.strerror or type(exc).__name__}."
        problem = f"The uploads folder could not be stored: {reason}"
        log.warning("uploads.not_stored", backup_id=backup_id, problem=problem)
        return Uploads(files=0, size_bytes=0, new_bytes=0, missing=0, skipped=0, problem=problem)


def _store(
    uploads_dir: Path,
    folder: Path,
    backup_id: str,
    recipients: Sequence[str],
    one_off: Sequence[str],
    execution: Execution,
) -> Uploads:
    known = find_known_contents(folder, recipients, without=backup_id, execution=execution)
    everybody, is_encrypted = [*recipients, *one_off], bool(recipients)
    index, pack = (path(folder, backup_id, is_encrypted=is_encrypted) for path in (index_path, pack_path))
    with _PartialFile(pack, everybody) as pack_file, _PartialFile(index, everybody, threads=0) as index_file:
        writer, tally = _PackWriter(pack_file.writer, known, backup_id), _Tally()
        for entry in scan_uploads(
            uploads_dir, is_known=known.pack_of.__contains__, store=writer.store, check_stop=execution.check_stop
        ):
            with _store_errors():
                index_file.writer.write(encode_entry(entry))
            tally.add(entry)
            execution.report_progress(tally.files, 0, "files")
        packs = [known.packs[name] for name in sorted(tally.find_packs(known)) if name != backup_id]
        with _store_errors():
            if writer.contents:
                packs.insert(0, _publish_pack(writer, pack_file, folder, backup_id))
            sha256 = index_file.publish()
    problem = tally.problem or _find_emptiness(folder, tally)
    return Uploads(
        files=tally.files,
        size_bytes=tally.size_bytes,
        new_bytes=writer.stored_bytes,
        missing=tally.missing,
        skipped=tally.skipped,
        index_size_bytes=index_file.writer.size_bytes,
        index_sha256=sha256,
        packs=tuple(packs),
        problem=problem,
    )


def _publish_pack(writer: _PackWriter, file: _PartialFile, folder: Path, backup_id: str) -> Pack:
    """Give the pack its name; not over one of the same backup, damaged since, to which others refer by now."""
    for backup in list_backups(folder).backups:
        packs = backup.manifest.uploads.packs if backup.manifest.uploads else ()
        if backup.backup_id != backup_id and any(pack.backup_id == backup_id for pack in packs):
            raise TransientError(f"Backup {backup.backup_id} refers to a pack of the same name.")
    writer.finish()
    contents = b"".join(writer.contents)
    write_durably(contents_path(folder, backup_id), contents)
    sha256 = file.publish()
    return Pack(
        backup_id=backup_id,
        size_bytes=file.writer.size_bytes,
        sha256=sha256,
        contents=len(writer.contents),
        contents_sha256=hashlib.sha256(contents).hexdigest(),
    )


def _find_emptiness(folder: Path, tally: _Tally) -> str | None:
    """An empty folder where there were files is rather a disk that is not mounted than a clean-up."""
    if tally.files:
        return None
    for backup in list_backups(folder).backups:
        uploads = backup.manifest.uploads
        if uploads is not None and uploads.files:
            return f"The uploads folder has no file; {backup.backup_id} has {uploads.files}. Is its disk mounted?"
        if uploads is not None and uploads.problem is None:
            return None
    return None


@dataclass
class _Tally:
    files: int = 0
    size_bytes: int = 0
    missing: int = 0
    skipped: int = 0
    digests: set[bytes] = field(default_factory=set)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, entry: Entry) -> None:
        if entry.sha256 is not None:
            self.files += 1
            self.size_bytes += entry.size_bytes
            self.digests.add(bytes.fromhex(entry.sha256))
        elif entry.problem is not None:
            self.missing += 1
            self.reasons[entry.problem] += 1
        elif entry.kind != "directory":
            self.skipped += 1

    def find_packs(self, known: KnownContents) -> set[str]:
        return {known.pack_of[digest] for digest in self.digests}

    @property
    def problem(self) -> str | None:
        """Why files are missing, without their names: the manifest is never encrypted, and a run is logged."""
        if not self.missing:
            return None
        reasons = " ".join(f"({count}) {reason}" for reason, count in self.reasons.most_common(_REASONS_AT_MOST))
        return (
            f"{self.missing} names of the uploads folder could not be stored: {reasons}"
            " `k9ops backup files ID --missing` lists them."
        )


class _PackWriter:
    """Writes contents as members of a tar file, each under its digest.

    A content that is another one when it is read the second time, or ends early and is filled up with zeros, leaves a
    member that does not have the digest of its name: readers pass over it.
    """

    def __init__(self, writer: ArchiveWriter, known: KnownContents, backup_id: str) -> None:
        self.contents: list[bytes] = []
        self.stored_bytes = 0
        self._known = known
        self._backup_id = backup_id
        self._write = writer.write

    def store(self, digest: bytes, size_bytes: int, pieces: Iterator[bytes]) -> bool:
        hasher, left = hashlib.sha256(), size_bytes
        with _store_errors():
            write_header(digest.hex(), size_bytes, self._write)
            for piece in pieces:
                hasher.update(piece)
                left -= len(piece)
                self._write(piece)
            while left:
                filler = bytes(min(left, CHUNK_BYTES))
                left -= len(filler)
                hasher.update(filler)
                self._write(filler)
            write_padding(size_bytes, self._write)
        if hasher.digest() != digest:
            return False
        self.contents.append(digest)
        self.stored_bytes += size_bytes
        self._known.pack_of[digest] = self._backup_id
        return True

    def finish(self) -> None:
        write_end(self._write)


class _PartialFile:
    """A compressed, perhaps encrypted file that gets its name when it is whole."""

    def __init__(self, path: Path, recipients: Sequence[str], *, threads: int = 2) -> None:
        self._path = path
        self._threads = threads
        self._partial = path.with_name(f".{path.name}.partial")
        self._recipients = recipients
        self._stack = contextlib.ExitStack()
        self.writer: ArchiveWriter

    def __enter__(self) -> _PartialFile:
        file = self._stack.enter_context(open_partial(self._partial))
        self.writer = self._stack.enter_context(
            contextlib.closing(ArchiveWriter(file, "zstd-stream", self._recipients, threads=self._threads))
        )
        return self

    def publish(self) -> str:
        sha256 = self.writer.finish()
        self._partial.rename(self._path)
        fsync_folder(self._path.parent)
        return sha256

    def __exit__(self, *_: object) -> None:
        self._stack.close()


@contextlib.contextmanager
def _store_errors() -> Iterator[None]:
    """What goes wrong with our own files must not look like a file that cannot be read."""
    try:
        with disk_errors():
            yield
    except OSError as exc:
        raise TransientError("The backup folder cannot be written.", error=str(exc)) from exc
