"""What the double of Drive holds: accounts' files, open sessions, tokens."""

from __future__ import annotations

import hashlib
import itertools
import secrets
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

FOLDER_TYPE = "application/vnd.google-apps.folder"
UNIT_BYTES = 256 * 1024


@dataclass
class StoredFile:
    """A file, its metadata as Drive's JSON."""

    meta: dict[str, Any]
    content: bytearray = field(default_factory=bytearray)

    @property
    def parent(self) -> str:
        return str(self.meta["parents"][0])


@dataclass
class Session:
    """A resumable upload: its bytes are hashed as they come, and kept unless the double is told not to."""

    meta: dict[str, Any]
    total: int
    received: int = 0
    content: bytearray = field(default_factory=bytearray)
    md5: Any = field(default_factory=lambda: hashlib.md5(usedforsecurity=False))
    sha256: Any = field(default_factory=hashlib.sha256)
    file_id: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, data: bytes, *, keep: bool) -> None:
        self.md5.update(data)
        self.sha256.update(data)
        self.received += len(data)
        if keep:
            self.content += data


class DriveState:
    """Everything that outlives a request.

    Args:
        keep_content: Whether contents are kept in memory; without, files cannot be downloaded.
    """

    def __init__(self, *, keep_content: bool = True) -> None:
        self.keep_content = keep_content
        self.lock = threading.RLock()
        self.files: dict[str, StoredFile] = {}
        self.sessions: dict[str, Session] = {}
        self.reserved: set[str] = set()
        self.requests: list[str] = []
        self.chunks: list[tuple[str, int, int]] = []
        self.limit_bytes: int | None = 15 * 10**9
        self.used_elsewhere_bytes = 0
        self.hidden_from_search: set[str] = set()
        self.search_lags = False
        self.page_size = 1000
        self.access_tokens: set[str] = set()
        self.refresh_tokens = {"refresh-1"}
        self.rotates_refresh_tokens = False
        self.service_account_key: Any = None
        self.device_is_approved = threading.Event()
        self.device_polls = 0
        self.revoked: list[str] = []
        self._numbers = itertools.count(1)

    def now(self) -> str:
        """Return a moment that is later than every one before."""
        moment = datetime(2026, 11, 25, tzinfo=UTC) + timedelta(milliseconds=next(self._numbers))
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"

    def new_token(self) -> str:
        token = f"access-{next(self._numbers)}-{secrets.token_hex(4)}"
        self.access_tokens.add(token)
        return token

    def new_id(self) -> str:
        file_id = f"id{next(self._numbers):04d}{secrets.token_hex(12)}"
        self.reserved.add(file_id)
        return file_id

    def expire_access_tokens(self) -> None:
        """Make every token that was given out answer 401."""
        self.access_tokens.clear()

    def add_file(self, meta: dict[str, Any], content: bytes | bytearray = b"") -> StoredFile:
        """Store a file or folder."""
        with self.lock:
            file_id = meta.get("id") or self.new_id()
            is_folder = meta.get("mimeType") == FOLDER_TYPE
            meta = {
                "kind": "drive#file",
                "mimeType": "application/octet-stream",
                "parents": ["root"],
                "appProperties": {},
                "trashed": False,
                "createdTime": self.now(),
                **meta,
                "id": file_id,
            }
            parent = self.files.get(meta["parents"][0])
            if parent is not None and "driveId" in parent.meta:
                meta["driveId"] = parent.meta["driveId"]
            if not is_folder and "md5Checksum" not in meta:
                meta["size"] = str(len(content))
                meta["md5Checksum"] = hashlib.md5(content, usedforsecurity=False).hexdigest()
                meta["sha256Checksum"] = hashlib.sha256(content).hexdigest()
            stored = StoredFile(meta, bytearray(content))
            self.files[file_id] = stored
            if self.search_lags:
                self.hidden_from_search.add(file_id)
            return stored

    def is_trashed(self, stored: StoredFile) -> bool:
        parent = self.files.get(stored.parent)
        return bool(stored.meta["trashed"]) or (parent is not None and self.is_trashed(parent))

    def used_bytes(self) -> int:
        own = sum(int(item.meta.get("size", 0)) for item in self.files.values() if "driveId" not in item.meta)
        return own + self.used_elsewhere_bytes

    def contents(self) -> list[StoredFile]:
        """Return what is no folder and not in the trash."""
        with self.lock:
            return [
                item
                for item in self.files.values()
                if item.meta["mimeType"] != FOLDER_TYPE and not self.is_trashed(item)
            ]

    def folders(self) -> list[StoredFile]:
        """Return the folders that are not in the trash."""
        with self.lock:
            return [
                item
                for item in self.files.values()
                if item.meta["mimeType"] == FOLDER_TYPE and not self.is_trashed(item)
            ]
