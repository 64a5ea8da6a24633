"""What the web application wants of backups, is told about them, and would give away in them."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from k9ops.config.logging import get_logger
from k9ops.db.application import inspect_application
from k9ops.db.backup_settings import BackupSettings, BackupStatus, read_backup_settings, write_backup_result
from k9ops.db.drive_records import read_application_credentials
from k9ops.db.engine import database_errors
from k9ops.errors import DatabaseUnavailable, K9opsError

_LOG = get_logger("k9ops.backups")
_TABLE = "backup_settings"


def read_wishes(engine: Engine) -> BackupSettings:
    """Return the application's backup settings; the defaults when the application has no such table."""
    with database_errors(), engine.begin() as connection:
        schema = inspect_application(connection)
        return read_backup_settings(connection, schema) if schema.has(_TABLE) else BackupSettings()


def tell_application(engine: Engine, status: BackupStatus, message: str, *, about: str | None = None) -> None:
    """Write `backup_settings.last_backup_*`; a database that refuses it is logged and changes no outcome.

    Args:
        engine: The application's database.
        status: As the application knows them.
        message: One sentence for a person.
        about: Only if what the application shows is about this backup, or nothing: the verification of an old one
            must not cover up that a newer one failed.
    """
    try:
        with database_errors(), engine.begin() as connection:
            schema = inspect_application(connection)
            if not schema.has(_TABLE):
                return
            shown = read_backup_settings(connection, schema).last_backup_message
            if about is None or shown is None or about in shown:
                write_backup_result(connection, schema, at=datetime.now(UTC), status=status, message=message)
    except (DatabaseUnavailable, DBAPIError) as exc:
        _LOG.warning("application.untold", status=status, problem=str(exc))


def has_readable_tokens(engine: Engine) -> bool:
    """Tell whether a dump of the database holds readable keys to Google Drive."""
    with database_errors(), engine.begin() as connection:
        return read_application_credentials(connection, inspect_application(connection)) is not None


def explain(error: Exception) -> str:
    """Return the sentence for a person."""
    return error.user_message if isinstance(error, K9opsError) else f"Unexpected error ({type(error).__name__})."
