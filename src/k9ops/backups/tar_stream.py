"""A tar file as a stream: a member at a time, in memory that does not grow with their number as tarfile's does."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterable, Iterator

from k9ops.backups.programs import CHUNK_BYTES
from k9ops.errors import BackupDamaged

_BLOCK_BYTES = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK_BYTES)
_CUT = "The pack ends too early."


def write_header(name: str, size_bytes: int, write: Callable[[bytes], object]) -> None:
    """Write what stands before the content of a member; a name of up to 100 bytes takes one block (GNU tar)."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size_bytes, 0o600
    write(member.tobuf(tarfile.GNU_FORMAT))


def write_padding(size_bytes: int, write: Callable[[bytes], object]) -> None:
    """Write what stands after the content of a member."""
    write(bytes(-size_bytes % _BLOCK_BYTES))


def write_end(write: Callable[[bytes], object]) -> None:
    """Write the end of a tar file."""
    write(_END)


def read_members(chunks: Iterable[bytes]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield name and pieces of each member; what is left of one is passed over.

    Raises:
        BackupDamaged: It is no tar file, or ends too early.
    """
    source = _Source(chunks)
    while True:
        header = b"".join(source.take(_BLOCK_BYTES))
        if not any(header):
            return
        try:
            member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        except tarfile.HeaderError as exc:
            raise BackupDamaged("The pack is no tar file.", error=str(exc)) from exc
        pieces = source.take(member.size)
        yield member.name, pieces
        for _ in pieces:
            pass
        for _ in source.take(-member.size % _BLOCK_BYTES):
            pass


class _Source:
    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def take(self, count: int) -> Iterator[bytes]:
        """Yield exactly so many bytes."""
        while count > 0:
            while not self._rest:
                chunk = next(self._chunks, None)
                if chunk is None:
                    raise BackupDamaged(_CUT)
                self._rest = memoryview(chunk)
            part = self._rest[: min(count, CHUNK_BYTES)]
            self._rest = self._rest[len(part) :]
            count -= len(part)
            yield bytes(part)
