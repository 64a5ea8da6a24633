"""The application's one row of backup settings: read what is wanted, write how the last backup went."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import Connection, Text, cast, column, func, select, table, update

from k9ops.db.application import APPLICATION_SCHEMA, ApplicationSchema
from k9ops.errors import DatabaseInvalid

BackupFrequency = Literal["DISABLED", "DAILY", "WEEKLY", "MONTHLY"]
BackupStatus = Literal["success", "partial", "failed"]

_FREQUENCIES: dict[str, BackupFrequency] = {
    "DISABLED": "DISABLED",
    "DAILY": "DAILY",
    "WEEKLY": "WEEKLY",
    "MONTHLY": "MONTHLY",
}
_TABLE = "backup_settings"
_COLUMNS = (
    "auto_backup_enabled",
    "backup_frequency",
    "backup_hour",
    "retention_days",
    "google_drive_enabled",
    "google_drive_folder_id",
    "last_backup_at",
    "last_backup_status",
    "last_backup_message",
)
_rows = table(_TABLE, column("id"), *(column(name) for name in _COLUMNS), schema=APPLICATION_SCHEMA)
_first_id = select(func.min(_rows.c.id)).scalar_subquery()


@dataclass(frozen=True)
class BackupSettings:
    """What the web application's page of backup settings says; the defaults hold when it was never saved.

    Attributes:
        auto_backup_enabled: Whether scheduled backups are wanted at all.
        backup_frequency: How often.
        backup_hour: Hour of the day in the unit's time zone, 0-23.
        retention_days: Age up to which every backup stays.
        google_drive_enabled: Whether a copy goes to Google Drive.
        google_drive_folder_id: Drive's id of the folder, if one was chosen.
        last_backup_at: Aware UTC.
        last_backup_status: `success`, `partial` or `failed`.
        last_backup_message: One sentence for a person.
    """

    auto_backup_enabled: bool = False
    backup_frequency: BackupFrequency = "DISABLED"
    backup_hour: int = 2
    retention_days: int = 30
    google_drive_enabled: bool = False
    google_drive_folder_id: str | None = None
    last_backup_at: datetime | None = None
    last_backup_status: str | None = None
    last_backup_message: str | None = None

    @property
    def wants_backups(self) -> bool:
        """Whether scheduled backups are switched on and have a frequency."""
        return self.auto_backup_enabled and self.backup_frequency != "DISABLED"


def read_backup_settings(connection: Connection, schema: ApplicationSchema) -> BackupSettings:
    """Read the settings; the Drive credentials stay where they are.

    Args:
        connection: To the application's database.
        schema: What that database holds.

    Returns:
        The row, or the defaults when there is none.

    Raises:
        DatabaseInvalid: The table or a column of it is missing, or the frequency is not a known one.
    """
    schema.require(_TABLE, *_COLUMNS)
    wanted = [
        cast(_rows.c[name], Text).label(name) if name == "backup_frequency" else _rows.c[name] for name in _COLUMNS
    ]
    row = connection.execute(select(*wanted).order_by(_rows.c.id).limit(1)).mappings().one_or_none()
    if row is None:
        return BackupSettings()
    frequency = _FREQUENCIES.get(row["backup_frequency"])
    if frequency is None:
        raise DatabaseInvalid("The backup frequency in the settings is not a known one.", **row)
    at = row["last_backup_at"]
    return BackupSettings(
        **{
            **row,
            "backup_frequency": frequency,
            "last_backup_at": at.replace(tzinfo=UTC) if at is not None else None,
        }
    )


def write_backup_result(
    connection: Connection, schema: ApplicationSchema, *, at: datetime, status: BackupStatus, message: str
) -> bool:
    """Tell the web application how a backup went.

    Args:
        connection: Its transaction is the caller's to commit.
        schema: What the database holds.
        at: When the backup ended; aware.
        status: As the web application knows them.
        message: One sentence for a person.

    Returns:
        False when there is no row to write to; none is made then.

    Raises:
        DatabaseInvalid: The table or a column of it is missing.
        ValueError: `at` has no time zone.
    """
    if at.tzinfo is None:
        raise ValueError("at must be aware")
    schema.require(_TABLE, "last_backup_at", "last_backup_status", "last_backup_message")
    result = connection.execute(
        update(_rows)
        .where(_rows.c.id == _first_id)
        .values(
            last_backup_at=at.astimezone(UTC).replace(tzinfo=None),
            last_backup_status=status,
            last_backup_message=message,
        )
    )
    return result.rowcount == 1
