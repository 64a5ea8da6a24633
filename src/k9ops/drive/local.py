"""A file on this machine that is to be uploaded, and its digests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from k9ops.drive.store import RemoteFile
from k9ops.outcome import Execution

_BLOCK_BYTES = 1024 * 1024
KEY_PROPERTY = "k9ops_file"


@dataclass(frozen=True)
class LocalFile:
    """What is uploaded, and by what its copy is known.

    Attributes:
        path: Where it is.
        name: Its name on the drive; with the folder, the key by which a copy is found.
        size_bytes: Its size.
        md5: Hexadecimal.
        sha256: Hexadecimal.
        properties: Further notes for the copy.
    """

    path: Path
    name: str
    size_bytes: int
    md5: str
    sha256: str
    properties: Mapping[str, str]

    @property
    def key(self) -> Mapping[str, str]:
        """What is searched for before anything is uploaded."""
        return {KEY_PROPERTY: self.name}

    def is_copied_in(self, remote: RemoteFile) -> bool:
        """Tell whether a remote file has the same bytes, by the size and every digest that the drive reports."""
        pairs = [(mine, theirs) for mine, theirs in ((self.md5, remote.md5), (self.sha256, remote.sha256)) if theirs]
        return remote.size_bytes == self.size_bytes and bool(pairs) and all(mine == theirs for mine, theirs in pairs)


def read_local_file(path: Path, *, properties: Mapping[str, str], execution: Execution) -> LocalFile:
    """Read a file once for its size and digests.

    Args:
        path: The file.
        properties: Notes for its copy.
        execution: Asked whether to stop.
    """
    # MD5 is what Drive reports; nothing rests on it alone where it reports SHA-256 too.
    md5, sha256, size_bytes = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            execution.check_stop()
            md5.update(block)
            sha256.update(block)
            size_bytes += len(block)
    return LocalFile(path, path.name, size_bytes, md5.hexdigest(), sha256.hexdigest(), properties)
