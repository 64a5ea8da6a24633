"""What a backup holds: its manifest, written once, and its state, which changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from k9ops.errors import BackupDamaged

MANIFEST_VERSION = 1
STATE_VERSION = 1

Compression = Literal["zstd", "zstd-stream"]
VerificationState = Literal["unverified", "verified", "failed"]

# Begins with a major number; `major_of` would fail on anything else.
_Version = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,3}(\P{N}|$)")]
_RowCount = Annotated[int, Field(ge=0)]

_Record = TypeVar("_Record", bound=BaseModel)


class _FrozenRecord(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DatabaseShape(_FrozenRecord):
    """What CREATE DATABASE needs to make a database that sorts and stores text like the one backed up.

    Attributes:
        encoding: PostgreSQL's name, e.g. `UTF8`.
        collate: LC_COLLATE.
        ctype: LC_CTYPE.
        locale_provider: `libc`, `icu` or `builtin`.
        locale: The provider's own locale; None with `libc`.
        icu_rules: Additional collation rules of ICU.
    """

    encoding: str
    collate: str
    ctype: str
    locale_provider: Literal["libc", "icu", "builtin"]
    locale: str | None = None
    icu_rules: str | None = None


class Manifest(_FrozenRecord):
    """What was backed up, from where, and how to tell that the archive is still that.

    Attributes:
        manifest_version: Of this form.
        backup_id: Also the name of the files.
        database: Name of the database.
        shape: Its encoding and locale.
        server_version: E.g. `15.18`.
        client_version: Of the pg_dump that wrote the archive.
        snapshot_at: The moment whose data the archive holds.
        started_at: When the work began.
        finished_at: When the archive was whole.
        size_bytes: Size of the archive.
        sha256: Digest of the archive, hexadecimal.
        compression: `zstd` is inside the archive, made by pg_dump; `zstd-stream` is one zstd frame around it.
        uncompressed_bytes: Size before `zstd-stream`; None with `zstd`.
        tables: Exact row count of each table in the snapshot, by `schema.table`.
        schema_revision: Alembic revision by schema.
        owners: Roles that own something in the database.
        grantees: Other roles that its privileges and policies name.
        k9ops_version: That wrote it.
    """

    manifest_version: Literal[1]
    backup_id: str
    database: str
    shape: DatabaseShape
    server_version: _Version
    client_version: _Version
    snapshot_at: AwareDatetime
    started_at: AwareDatetime
    finished_at: AwareDatetime
    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    compression: Compression
    uncompressed_bytes: int | None = None
    tables: Mapping[str, _RowCount]
    schema_revision: Mapping[str, str]
    owners: tuple[str, ...]
    grantees: tuple[str, ...]
    k9ops_version: str

    @property
    def server_major(self) -> int:
        """Major version of the server."""
        return major_of(self.server_version)

    @property
    def client_major(self) -> int:
        """Major version of the pg_dump that wrote the archive."""
        return major_of(self.client_version)

    @property
    def row_count(self) -> int:
        """Rows of all tables together."""
        return sum(self.tables.values())


class TableDifference(_FrozenRecord):
    """A table whose restored rows are not those of the manifest; None where the table is missing."""

    table: str
    expected: int | None
    found: int | None


class Verification(_FrozenRecord):
    """What a restore of the backup showed.

    Attributes:
        state: `verified` only when it was restored and every table compared.
        at: When; None before the first attempt.
        duration_s: Seconds it took.
        server_version: Of the server it was restored on.
        tables_compared: Number of tables.
        rows_compared: Number of restored rows.
        differences: Tables that differ.
        reason: Why it is not `verified`, for a person.
        manifest_sha256: `fingerprint` of the manifest that it was compared with.
    """

    state: VerificationState = "unverified"
    at: AwareDatetime | None = None
    duration_s: float | None = None
    server_version: str | None = None
    tables_compared: int = 0
    rows_compared: int = 0
    differences: tuple[TableDifference, ...] = ()
    reason: str | None = None
    manifest_sha256: str | None = None


class BackupState(_FrozenRecord):
    """What may change about a backup.

    Attributes:
        state_version: Of this form.
        verification: The last one.
        pinned_at: Since when retention must leave it alone; None when it is not pinned.
        pinned_reason: Why.
        deletion_reason: Set before the files of a backup are removed: from then on it is no backup.
        arrival: Numbers the backups of a folder in the order in which retention first saw them, whatever their dates.
    """

    state_version: Literal[1] = 1
    verification: Verification = Verification()
    pinned_at: datetime | None = None
    pinned_reason: str | None = None
    deletion_reason: str | None = None
    arrival: int | None = None


def major_of(version: str) -> int:
    """Return the major number of a PostgreSQL version such as `15.18` or `18beta1`."""
    digits = ""
    for character in version:
        if not character.isdigit():
            break
        digits += character
    return int(digits)


def fingerprint(manifest: Manifest) -> str:
    """Return the SHA-256 of a manifest's text, hexadecimal: a verification holds for this one alone."""
    return hashlib.sha256(encode(manifest)).hexdigest()


def encode(record: Manifest | BackupState) -> bytes:
    """Return the JSON text of a manifest or state, one line a field, for a person with `less`."""
    text = json.dumps(record.model_dump(mode="json"), ensure_ascii=False, indent=2)
    return text.encode() + b"\n"


def decode_manifest(content: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        BackupDamaged: It is not one, or of a version that this k9ops does not know.
    """
    return _decode(content, Manifest, "manifest_version", MANIFEST_VERSION, "manifest")


def decode_state(content: bytes) -> BackupState:
    """Read a state.

    Raises:
        BackupDamaged: It is not one, or of a version that this k9ops does not know.
    """
    return _decode(content, BackupState, "state_version", STATE_VERSION, "state file")


def _decode(content: bytes, kind: type[_Record], version_key: str, version: int, word: str) -> _Record:
    try:
        data: Any = json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise BackupDamaged(f"The {word} is not JSON.", error=str(exc)) from exc
    if not isinstance(data, dict) or version_key not in data:
        raise BackupDamaged(f"The {word} has no {version_key}.")
    if data[version_key] != version:
        raise BackupDamaged(f"The {word} is of version {data[version_key]}; this k9ops reads version {version}.")
    try:
        return kind.model_validate(data)
    except ValidationError as exc:
        places = ", ".join(".".join(map(str, item["loc"])) for item in exc.errors(include_url=False))
        raise BackupDamaged(f"The {word} has wrong or missing values: {places}.", error=str(exc)) from exc
