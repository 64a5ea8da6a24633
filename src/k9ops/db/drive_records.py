"""What the database holds about Google Drive: the application's credentials, the sealed ones, the folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from sqlalchemy import Connection, Engine, column, delete, func, select, table, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from k9ops.db.application import APPLICATION_SCHEMA, ApplicationSchema
from k9ops.db.engine import database_errors
from k9ops.db.own_tables import drive_credential, drive_folder
from k9ops.errors import TransientError

_TABLE, _COLUMN = "backup_settings", "google_drive_credentials"
_LOCK_KEY = 0x6B396F70736472  # "k9opsdr" in ASCII
_rows = table(_TABLE, column("id"), column(_COLUMN), schema=APPLICATION_SCHEMA)
_first_id = select(func.min(_rows.c.id)).scalar_subquery()


@dataclass(frozen=True, repr=False)
class SealedCredential:
    """The row of `k9ops.drive_credential`.

    Attributes:
        sealed: The tokens; only the key opens them.
        account: E-mail address, if it was known.
    """

    sealed: str
    account: str | None


def read_application_credentials(connection: Connection, schema: ApplicationSchema) -> str | None:
    """Return the JSON that the web application keeps, which is a secret; None when there is none."""
    if not schema.has(_TABLE, _COLUMN):
        return None
    found = connection.scalar(select(_rows.c[_COLUMN]).where(_rows.c.id == _first_id))
    return str(found) if found and str(found).strip() else None


def replace_application_credentials(connection: Connection, *, expected: str, new: str | None) -> bool:
    """Put another JSON, or nothing, in the place of the one that was read.

    Returns:
        False when the application has written another one meanwhile; it stays.
    """
    result = connection.execute(
        update(_rows).where(_rows.c.id == _first_id, _rows.c[_COLUMN] == expected).values({_COLUMN: new})
    )
    return result.rowcount == 1


def read_sealed(connection: Connection) -> SealedCredential | None:
    """Return the sealed credentials; None when there are none, or no tables of k9ops yet."""
    if connection.scalar(select(func.to_regclass(str(drive_credential)))) is None:
        return None
    row = connection.execute(select(drive_credential.c.sealed, drive_credential.c.account)).one_or_none()
    return SealedCredential(row.sealed, row.account) if row else None


def write_sealed(connection: Connection, sealed: str, *, account: str | None) -> None:
    """Keep sealed credentials, in place of those that were there."""
    values = {"sealed": sealed, "account": account, "sealed_at": func.now()}
    statement = insert(drive_credential).values(id=1, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))


def note_account(connection: Connection, account: str) -> None:
    """Note whose the sealed credentials are."""
    connection.execute(update(drive_credential).values(account=account))


def replace_sealed(connection: Connection, *, expected: str, new: str) -> bool:
    """Put other sealed tokens in the place of those that were read.

    Returns:
        False when somebody has written others meanwhile; they stay.
    """
    result = connection.execute(
        update(drive_credential).where(drive_credential.c.sealed == expected).values(sealed=new, sealed_at=func.now())
    )
    return result.rowcount == 1


def delete_sealed(connection: Connection) -> bool:
    """Remove the sealed credentials; tell whether there were any."""
    return connection.execute(delete(drive_credential)).rowcount == 1


def read_folder(connection: Connection) -> str | None:
    """Return Drive's id of the folder that was found or made before."""
    found = connection.scalar(select(drive_folder.c.folder_id))
    return str(found) if found else None


def write_folder(connection: Connection, folder_id: str) -> None:
    """Keep the folder's id."""
    values = {"folder_id": folder_id, "found_at": func.now()}
    statement = insert(drive_folder).values(id=1, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))


def forget_folder(connection: Connection) -> None:
    """Let the next one look for the folder again."""
    connection.execute(delete(drive_folder))


@contextmanager
def folder_lock(engine: Engine) -> Iterator[Connection]:
    """Let one process at a time look for the folder; no transaction stays open during its requests.

    Yields:
        A connection in which every statement commits by itself.

    Raises:
        TransientError: Another process held it for too long.
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    with database_errors(), engine.connect() as plain:
        connection = plain.execution_options(isolation_level="AUTOCOMMIT")
        try:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK_KEY})
        except DBAPIError as exc:
            if isinstance(exc.orig, psycopg.errors.LockNotAvailable):
                raise TransientError("Another process looks for the folder on Google Drive.") from exc
            raise
        try:
            yield connection
        finally:
            if not connection.invalidated:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK_KEY})
