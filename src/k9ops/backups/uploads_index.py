"""The index of the uploads: a line of JSON for each name, compressed and encrypted like the archive."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from k9ops.backups.uploads_scan import Entry
from k9ops.errors import BackupDamaged

_KINDS = ("file", "directory", "link", "special")
_DIGEST_CHARACTERS = 64


def encode_entry(entry: Entry) -> bytes:
    """Return the line of an entry; a name that is not UTF-8 becomes lone surrogates, which JSON can escape."""
    fields = {name: value for name, value in asdict(entry).items() if value not in (None, 0)}
    return json.dumps(fields, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def decode_entries(chunks: Iterable[bytes]) -> Iterator[Entry]:
    """Yield the entries of an index.

    Raises:
        BackupDamaged: It is none, or ends in the middle of a line.
    """
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield _decode(line)
    if rest:
        raise BackupDamaged("The index of the uploads is cut short.")


def _decode(line: bytes) -> Entry:
    try:
        fields: dict[str, Any] = json.loads(line)
        entry = Entry(**fields)
    except (TypeError, ValueError, RecursionError) as exc:
        raise BackupDamaged("The index of the uploads has a line that is no entry.", error=str(exc)) from exc
    numbers = (entry.mode, entry.mtime_ns, entry.size_bytes)
    is_sound = (
        isinstance(entry.path, str)
        and entry.kind in _KINDS
        and all(type(number) is int for number in numbers)
        and entry.size_bytes >= 0
        and (entry.sha256 is None or _is_digest(entry.sha256))
    )
    if not is_sound:
        raise BackupDamaged("The index of the uploads has a line that is no entry.")
    return entry


def _is_digest(text: Any) -> bool:
    return isinstance(text, str) and len(text) == _DIGEST_CHARACTERS and all(c in "0123456789abcdef" for c in text)
