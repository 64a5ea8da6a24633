"""What a backup holds: its manifest, written once, and its state, which changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from k9ops.errors import BackupDamaged

MANIFEST_VERSIONS = (1, 2, 3)
STATE_VERSIONS = (1,)

Compression = Literal["zstd", "zstd-stream"]
VerificationState = Literal["unverified", "verified", "failed"]
OpenedWith = Literal["private_key", "one_off_key"]

# Begins with a major number; `major_of` would fail on anything else.
_Version = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,3}(\P{N}|$)")]
_RowCount = Annotated[int, Field(ge=0)]
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# A manifest says no more than it must: these stand in it only where they say something, from that version on.
_LATER_FIELDS = {"encryption": 2, "uploads": 2, "audit": 3}

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


class Encryption(_FrozenRecord):
    """How the files of a backup are encrypted.

    Attributes:
        format: `age`: version 1 of age-encryption.org, binary.
        recipients: Public keys whose private keys open the files.
        one_off_recipient: Public key of the key that only the process that made the backup had, to prove it.
        plain_sha256: Digest of the archive as it is before encryption, hexadecimal.
        plain_size_bytes: Its size.
    """

    format: Literal["age"] = "age"
    recipients: tuple[str, ...] = Field(min_length=1)
    one_off_recipient: str | None = None
    plain_sha256: _Digest
    plain_size_bytes: int = Field(ge=0)


class Pack(_FrozenRecord):
    """A file with the contents of uploads that were new when it was written; later sets refer to it.

    Attributes:
        backup_id: Of the set it was made with, which may be gone.
        size_bytes: Size of the file, encrypted where it is.
        sha256: Digest of the file, hexadecimal.
        contents: How many contents it holds.
        contents_sha256: Digest of the list of their digests, hexadecimal.
    """

    backup_id: str
    size_bytes: int = Field(ge=0)
    sha256: _Digest
    contents: int = Field(ge=1)
    contents_sha256: _Digest


class Uploads(_FrozenRecord):
    """The uploads folder as part of a backup.

    Attributes:
        files: Stored files.
        size_bytes: Of all stored files together, each counted.
        new_bytes: Of the contents that no earlier set had.
        missing: Files that could not be stored; the index says why.
        skipped: Links, sockets and the like, which are listed and not stored.
        index_size_bytes: Size of the index; None when the folder could not be read at all.
        index_sha256: Digest of the index, hexadecimal.
        packs: Those that hold the contents, the own one first.
        problem: Why the set lacks files, for a person; None when it lacks none.
    """

    files: int = Field(ge=0)
    size_bytes: int = Field(ge=0)
    new_bytes: int = Field(ge=0)
    missing: int = Field(ge=0)
    skipped: int = Field(ge=0)
    index_size_bytes: int | None = None
    index_sha256: _Digest | None = None
    packs: tuple[Pack, ...] = ()
    problem: str | None = None


class AuditHead(_FrozenRecord):
    """Where the audit chain of k9ops stood at the moment whose data the archive holds.

    Attributes:
        chain_id: Which chain.
        last_id: Number of the newest entry; 0 when there was none.
        hash: Its hash, hexadecimal: it proves every entry up to that one.
    """

    chain_id: str
    last_id: int = Field(ge=0)
    hash: _Digest


class Manifest(_FrozenRecord):
    """What was backed up, from where, and how to tell that the archive is still that.

    Attributes:
        manifest_version: Of this form: 1 says all of a plain archive, 2 encryption and uploads too, 3 the audit chain.
        backup_id: Also the name of the files.
        database: Name of the database.
        shape: Its encoding and locale.
        server_version: E.g. `15.18`.
        client_version: Of the pg_dump that wrote the archive.
        snapshot_at: The moment whose data the archive holds.
        started_at: When the work began.
        finished_at: When the archive was whole.
        size_bytes: Size of the archive file, encrypted where it is.
        sha256: Digest of that file, hexadecimal.
        compression: `zstd` is inside the archive, made by pg_dump; `zstd-stream` is one zstd frame around it.
        uncompressed_bytes: Size before `zstd-stream`; None with `zstd`.
        tables: Exact row count of each table in the snapshot, by `schema.table`.
        schema_revision: Alembic revision by schema.
        owners: Roles that own something in the database.
        grantees: Other roles that its privileges and policies name.
        k9ops_version: That wrote it.
        encryption: None for a plain archive.
        uploads: The uploads folder; None when the settings name none.
        audit: Head of the audit chain; None where the database has no such tables.
    """

    manifest_version: Literal[1, 2, 3]
    backup_id: str
    database: str
    shape: DatabaseShape
    server_version: _Version
    client_version: _Version
    snapshot_at: AwareDatetime
    started_at: AwareDatetime
    finished_at: AwareDatetime
    size_bytes: int = Field(ge=0)
    sha256: _Digest
    compression: Compression
    uncompressed_bytes: int | None = None
    tables: Mapping[str, _RowCount]
    schema_revision: Mapping[str, str]
    owners: tuple[str, ...]
    grantees: tuple[str, ...]
    k9ops_version: str
    encryption: Encryption | None = None
    uploads: Uploads | None = None
    audit: AuditHead | None = None

    @model_validator(mode="after")
    def _check_version(self) -> Manifest:
        for name, version in _LATER_FIELDS.items():
            if self.manifest_version < version and getattr(self, name) is not None:
                raise ValueError(f"manifest_version {self.manifest_version} has no {name}")
        return self

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


class UploadsVerification(_FrozenRecord):
    """What was proven of the uploads of a backup.

    Attributes:
        files: Files whose content was found.
        size_bytes: Of all these files together.
        contents_read: Contents that were read from the packs and hashed.
        contents_by_digest: Contents in packs that no key here opens: the file is unchanged since it was written.
    """

    files: int
    size_bytes: int
    contents_read: int
    contents_by_digest: int


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
        opened_with: What decrypted an encrypted backup for the restore; None for a plain one, or when it was not
            restored.
        uploads: Of the uploads folder; None where the backup has none, or they were not looked at.
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
    opened_with: OpenedWith | None = None
    uploads: UploadsVerification | None = None
    reason: str | None = None
    manifest_sha256: str | None = None


class CopiedFile(_FrozenRecord):
    """A file of a backup that is on Google Drive, as Drive reported it.

    Attributes:
        name: As in the backup folder.
        file_id: Drive's.
        size_bytes: Its size.
        sha256: Hexadecimal; None where Drive does not report it.
        md5: The same.
    """

    name: str
    file_id: str
    size_bytes: int
    sha256: str | None = None
    md5: str | None = None


class DriveCopy(_FrozenRecord):
    """The copy of a backup on Google Drive; it is noted when every digest was compared.

    Attributes:
        folder_id: Drive's.
        at: When it was whole.
        files: All of them.
    """

    folder_id: str
    at: AwareDatetime
    files: tuple[CopiedFile, ...]


class BackupState(_FrozenRecord):
    """What may change about a backup.

    Attributes:
        state_version: Of this form.
        verification: The last one.
        drive_copy: Its copy on Google Drive; None until that is whole.
        pinned_at: Since when retention must leave it alone; None when it is not pinned.
        pinned_reason: Why.
        deletion_reason: Set before the files of a backup are removed: from then on it is no backup.
        arrival: Numbers the backups of a folder in the order in which they came, whatever their dates.
    """

    state_version: Literal[1] = 1
    verification: Verification = Verification()
    drive_copy: DriveCopy | None = None
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
    document = record.model_dump(mode="json")
    for name in _LATER_FIELDS:
        if document.get(name, ...) is None:
            del document[name]
    text = json.dumps(document, ensure_ascii=False, indent=2)
    return text.encode() + b"\n"


def decode_manifest(content: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        BackupDamaged: It is not one, or of a version that this k9ops does not know.
    """
    return _decode(content, Manifest, "manifest_version", MANIFEST_VERSIONS, "manifest")


def decode_state(content: bytes) -> BackupState:
    """Read a state.

    Raises:
        BackupDamaged: It is not one, or of a version that this k9ops does not know.
    """
    return _decode(content, BackupState, "state_version", STATE_VERSIONS, "state file")


def _decode(content: bytes, kind: type[_Record], version_key: str, versions: tuple[int, ...], word: str) -> _Record:
    try:
        data: Any = json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise BackupDamaged(f"The {word} is not JSON.", error=str(exc)) from exc
    if not isinstance(data, dict) or version_key not in data:
        raise BackupDamaged(f"The {word} has no {version_key}.")
    if data[version_key] not in versions:
        known = " and ".join(filter(None, (", ".join(map(str, versions[:-1])), str(versions[-1]))))
        raise BackupDamaged(f"The {word} is of version {data[version_key]}; this k9ops reads version {known}.")
    try:
        return kind.model_validate(data)
    except ValidationError as exc:
        places = ", ".join(".".join(map(str, item["loc"])) for item in exc.errors(include_url=False))
        raise BackupDamaged(f"The {word} has wrong or missing values: {places}.", error=str(exc)) from exc
